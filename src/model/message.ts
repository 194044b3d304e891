/**
 * What user code sees of a request or message: the facade policies decide on, the
 * message handlers answer, and what subscribers of the API receive. Types only.
 */

/** A message on its way, as a policy sees it: only the fields the policy declared. */
export interface PolicyMessage {
  readonly protocol: string
  readonly method: string | null
  readonly host: string | null
  readonly path: string | null
  readonly topic: string | null
  readonly clientId: string | null
  readonly contentType: string | null
  readonly user: string | null
  /** Address of the peer without its port. */
  readonly source: string | null
  header(name: string): string | null
  query(name: string): string | null
  cookie(name: string): string | null
}

/** What `decide` may return; nothing or `"continue"` lets the message pass unchanged. */
export interface VerdictChanges {
  /** Ends the message here: 400 to 599, default 403. */
  readonly reject?: { readonly status?: number; readonly body?: string } | true
  readonly setHeaders?: Readonly<Record<string, string>>
  readonly removeHeaders?: readonly string[]
  /** Name of another upstream than the route's. */
  readonly upstream?: string
  /** Key for `consistentHash("key")`. */
  readonly hashKey?: string | null
  /** Another path; it must start with a slash. */
  readonly path?: string
  /** False keeps this one verdict out of the cache. */
  readonly cache?: boolean
}

export type Verdict = VerdictChanges | "continue" | "reject" | null | undefined | void

/** A message as a handler receives it, with its whole body. */
export interface HandlerMessage {
  readonly protocol: string
  readonly kind: "publish" | "request"
  readonly method: string | null
  readonly host: string | null
  readonly path: string | null
  readonly query: string | null
  readonly topic: string | null
  readonly clientId: string | null
  readonly user: string | null
  readonly source: string | null
  readonly contentType: string | null
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Buffer
  header(name: string): string | null
  text(): string
  json(): unknown
}

/** What a handler answers; a string or object is a 200 with that body, nothing is a 204. */
export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | object | null
}

/** A message a subscriber of the gateway's own API receives. */
export interface ReceivedMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

/** How the gateway's own API publishes. */
export interface PublishOptions {
  /** Default 0. */
  readonly qos?: 0 | 1 | 2
  /** Default false. */
  readonly retain?: boolean
  readonly contentType?: string
  /** Seconds until the message is worthless; default: never. */
  readonly expirySeconds?: number
}
