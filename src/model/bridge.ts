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

export interface Bridge {
  readonly name: string
  /** `mqtt://host:port`. */
  readonly to: string
  readonly clientId: string
  readonly remote: BridgeLogin
  readonly local: BridgeLogin
  readonly out: readonly BridgeTopics[]
  readonly in: readonly BridgeTopics[]
}
