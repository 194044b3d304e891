/**
 * What user code sees of a request or message: the facade policies decide on, the
 * message handlers answer, and what subscribers of the API receive. Types only.
 */
import type { Attribute } from "./match.ts"

/** A client's certificate; only valid ones come this far. */
export interface MessageCertificate {
  /** SHA-256, lower-case hexadecimal digits. */
  readonly fingerprint: string
  /** `CN=device-1, O=Plant`. */
  readonly subject: string
  readonly names: readonly { readonly kind: "dns" | "mail" | "uri" | "address"; readonly name: string }[]
}

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
  /** The certificate that the client showed; declared as `"certificate"`. */
  readonly certificate: MessageCertificate | null
  /** Address of the peer without its port. */
  readonly source: string | null
  header(name: string): string | null
  query(name: string): string | null
  cookie(name: string): string | null
  /** What only the broker's hooks know; see docs/policies.md. */
  attribute(name: Attribute): string | null
  /** Of a publish or a delivery; it crosses when it is asked for. */
  readonly payload: Buffer | null
  /** The payload as text. */
  text(): string | null
  /** The payload as JSON; throws where it is none. */
  json(): unknown
}

/** One rule of an identity, as in `auth.acl`. */
export type OwnRule =
  | { readonly allow: "publish" | "subscribe" | "all"; readonly topic: string }
  | { readonly deny: "publish" | "subscribe" | "all"; readonly topic: string }

/** What a verdict changes of a client, a publish, a subscription or a delivery. */
export interface BrokerChanges {
  /** The message goes nowhere, and its sender does not notice. */
  readonly drop?: boolean
  /** Another topic of a publish; another filter of a subscription. */
  readonly topic?: string
  /** Another payload; an object becomes JSON. */
  readonly payload?: string | Uint8Array | object
  readonly retain?: boolean
  /** Highest promise of a subscription. */
  readonly qos?: 0 | 1 | 2
  /** Another client identifier (`onConnect`). */
  readonly clientId?: string
  /** Who the client is (`onAuthenticate`). */
  readonly user?: string
  /** With `user`: everything is allowed to it. */
  readonly superuser?: boolean
  /** With `user`: its own rules. */
  readonly acl?: readonly OwnRule[]
  /** The key of a client of DTLS (`onPsk`): bytes, text, or `hex:` and digits; 1 to 32 bytes. */
  readonly psk?: string | Uint8Array
  /** Whose client it is: later policies read it, keys may be made of it. */
  readonly tenant?: string
  /** Longest keep-alive (`onConnect`). */
  readonly keepAliveS?: number
  /** Longest session expiry (`onConnect`). */
  readonly sessionExpiryS?: number
}

/** What `decide` may return; nothing or `"continue"` lets the message pass unchanged. */
export interface VerdictChanges extends BrokerChanges {
  /** Ends the message here: 400 to 599, default 403; for MQTT a reason code of 128 to 255, default by the status. */
  readonly reject?: { readonly status?: number; readonly reason?: number; readonly body?: string } | true
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

/** `publish` with everything in one object. */
export interface InjectedMessage extends PublishOptions {
  readonly topic: string
  readonly payload: string | Uint8Array
}

export type MessageListener = (message: ReceivedMessage) => void

export interface SubscribeOptions {
  /** Default 0. */
  readonly qos?: 0 | 1 | 2
}
