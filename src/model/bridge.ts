/** A bridge to another broker, with all defaults. */

export interface BridgeTopics {
  /** Topic filter, without the prefixes. */
  readonly topic: string
  readonly qos: 0 | 1 | 2
  readonly localPrefix: string
  readonly remotePrefix: string
}

export interface BridgeLogin {
  readonly username: string | null
  readonly password: string | null
}

/** Files, as absolute paths; null: not given. */
export interface BridgeTls {
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
  readonly serverName: string | null
}

export interface Bridge {
  readonly name: string
  /** `mqtt://host:port`, `mqtts://host:port`. */
  readonly to: string
  readonly clientId: string
  readonly remote: BridgeLogin
  readonly tls: BridgeTls
  readonly local: BridgeLogin
  readonly out: readonly BridgeTopics[]
  readonly in: readonly BridgeTopics[]
}
