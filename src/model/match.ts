/**
 * The vocabulary of conditions and keys as a user writes them, in TypeScript and in
 * YAML alike. Types only: the builders stand in `route/`, the schema in `config/`.
 */

/** Exact text, or an anchored regular expression (linear engine). */
export type TextMatch = string | { readonly regex: string }

/** All given conditions must hold. */
export interface Match {
  /** `/a` exact, `/a/**` prefix, `/a/{id}` one segment, or a regular expression. */
  readonly path?: TextMatch
  /** `a.com`, or `*.a.com` for one or more labels in front. */
  readonly host?: string
  readonly method?: string | readonly string[]
  readonly header?: Readonly<Record<string, TextMatch | true>>
  readonly query?: Readonly<Record<string, TextMatch | true>>
  /** Topic filter with `+` and `#`. */
  readonly topic?: string
  readonly clientId?: TextMatch
  /** The user that authenticated: with a CONNECT, or by certificate. */
  readonly user?: TextMatch
  readonly protocol?: string | readonly string[]
  /** CIDR or address of the peer. */
  readonly source?: string | readonly string[]
  readonly sni?: string
  /** `true`: a valid certificate was shown; `false`: none was. */
  readonly certificate?: boolean | CertificateMatch
}

/** A valid certificate was shown, and everything given holds for it. */
export interface CertificateMatch {
  /** `CN=device-1, O=Plant`. */
  readonly subject?: TextMatch
  /** Any one of its alternative names: DNS, mail, URI, address. */
  readonly name?: TextMatch
  /** SHA-256 in hexadecimal digits, with or without colons. */
  readonly fingerprint?: string
}

/** Where a key is taken from: hashing, rate limits, verdict caches. */
export type Key =
  | "clientIp"
  | "clientId"
  | "user"
  | "certificate"
  | "topic"
  | "path"
  | "host"
  | "route"
  | "key"
  | Attribute
  | { readonly header: string }
  | { readonly query: string }
  | { readonly cookie: string }

/**
 * What only the hooks of the broker know, and what the handshake of TLS told (`sni`, `subject`). `tenant` is what an
 * earlier policy said.
 */
export type Attribute =
  | "hook"
  | "qos"
  | "retain"
  | "username"
  | "password"
  | "version"
  | "cleanStart"
  | "keepAlive"
  | "sessionExpiry"
  | "willTopic"
  | "reason"
  | "sni"
  | "subject"
  | "tenant"

/** A field that a policy reads. */
export type Field =
  | "method"
  | "host"
  | "path"
  | "topic"
  | "clientId"
  | "contentType"
  | "user"
  | "certificate"
  | "source"
  | "protocol"
  | "payload"
  | Attribute
  | { readonly header: string }
  | { readonly query: string }
  | { readonly cookie: string }
