/**
 * The Plan: everything the native side executes, as one JSON document. `plan/` makes
 * it from the normalized config, endpoints and weights; `crates/proxy/src/plan.rs`
 * parses it with serde. Field for field the same on both sides; `null`, never
 * `undefined`; milliseconds end in `Ms`, bytes in `Bytes`.
 */
import type { Attribute } from "../model/match.ts"

/** The whole of it. */
export interface Plan {
  /** Config version; goes up by one with each applied change. */
  readonly version: number
  readonly listeners: readonly ListenerPlan[]
  readonly upstreams: readonly UpstreamPlan[]
  readonly routes: readonly RoutePlan[]
  /** TypeScript policies, one entry per use with its own options; routes name them by `id`. */
  readonly scripts: readonly ScriptPlan[]
  /** TypeScript handlers; routes name them by `name`. */
  readonly handlers: readonly HandlerPlan[]
  readonly broker: BrokerPlan
  readonly hooks: HooksPlan
  readonly mqtt: MqttPlan
  readonly coap: CoapPlan
  readonly access: AccessPlan
  readonly limits: LimitsPlan
  readonly log: LogPlan
  readonly forward: ForwardPlan
  /** SHA-256 of the tokens that may ask why a request goes where it goes (`Tidegate-Explain`). */
  readonly explain: readonly string[]
  /** Which requests have a span; null: none. */
  readonly tracing: { readonly ratio: number } | null
}

export type ProtocolName =
  | "http1"
  | "http2"
  | "websocket"
  | "mqtt"
  | "coap"
  | "coap-tcp"
  | "tls"
  | "dtls"
  | "oscore"
  | "internal"

export interface ListenerPlan {
  /** Stable name: the address as configured, `tcp://127.0.0.1:7000`; several with port 0 are counted. */
  readonly name: string
  readonly transport: "tcp" | "udp"
  /** `host:port`; IPv6 in brackets. */
  readonly address: string
  /** Protocols it accepts; `detect` in the config means all of its transport. */
  readonly protocols: readonly ProtocolName[]
  /** CIDRs whose PROXY protocol v1/v2 header is required and believed; empty: none. */
  readonly proxyProtocolFrom: readonly string[]
  /** CIDRs whose `X-Forwarded-*` is kept. */
  readonly trustedProxies: readonly string[]
  /** Whether clients without credentials may come in. */
  readonly anonymous: boolean
  /** `host:port` that unknown openings are spliced to, or null: closed and counted. */
  readonly unknownTo: string | null
  /** How it speaks TLS, on the same port; null: not at all. */
  readonly tls: ServerTlsPlan | null
  /** How it speaks DTLS beside CoAP; null: not at all. */
  readonly dtls: DtlsPlan | null
  /** Security contexts of CoAP (RFC 8613). */
  readonly oscore: readonly OscorePlan[]
}

export interface OscorePlan {
  /** The user that its peer is. */
  readonly name: string
  readonly masterSecretHex: string
  readonly masterSaltHex: string
  readonly senderIdHex: string
  readonly recipientIdHex: string
  readonly idContextHex: string | null
  readonly replayWindow: number
}

export interface DtlsPlan {
  readonly psk: readonly {
    /** `*` stands for any run of characters. */
    readonly identity: string
    readonly keyHex: string
    /** Whether each identity has a key of its own, made of this one. */
    readonly derived: boolean
  }[]
  /** Whether the hook `psk` is asked for keys that are not there. */
  readonly askForKey: boolean
  readonly certificate: PairPlan | null
  readonly clientAuth: {
    readonly ca: readonly string[]
    readonly crl: readonly string[]
    readonly mode: "request" | "require"
  } | null
  readonly connectionId: boolean
}

/** PEM files. */
export interface PairPlan {
  readonly cert: string
  readonly key: string
}

export interface ServerTlsPlan {
  /** By server name; the first one where none fits. */
  readonly certificates: readonly PairPlan[]
  readonly minVersion: "1.2" | "1.3"
  readonly clientAuth: {
    readonly ca: readonly string[]
    readonly crl: readonly string[]
    readonly mode: "request" | "require"
    /** What of a certificate is the user's name; null: it names none. */
    readonly user: "commonName" | "subject" | "dns" | "mail" | "uri" | "fingerprint" | null
  } | null
  readonly sessionTickets: boolean
  /** In the order of preference. */
  readonly alpn: readonly string[]
}

export interface ClientTlsPlan {
  /** PEM files; empty: the system's trust. */
  readonly ca: readonly string[]
  /** What is asked for and verified; null: the endpoint's address. */
  readonly serverName: string | null
  readonly certificate: PairPlan | null
  readonly verify: boolean
  readonly minVersion: "1.2" | "1.3"
  readonly alpn: readonly string[]
}

export interface UpstreamPlan {
  readonly name: string
  readonly protocol: "http1" | "h2c" | "h2" | "mqtt" | "coap"
  /** How it is spoken to over TLS; null: in the clear. */
  readonly tls: ClientTlsPlan | null
  /** The PROXY header that each connection begins with; null: none. */
  readonly proxyProtocol: "v1" | "v2" | null
  readonly balance: BalancePlan
  readonly endpoints: readonly EndpointPlan[]
  /** Below this share of healthy endpoints health is ignored. Percent, default 50. */
  readonly panicPercent: number
  readonly connectTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly maxConnections: number
  /** Streams at the same time on one HTTP/2 connection. */
  readonly maxStreams: number
  readonly maxPending: number
  readonly maxRequests: number
  readonly maxRetries: number
  /** What moves the bound of requests at the same time, below `maxRequests`; null: nothing. */
  readonly adaptive: AdaptivePlan | null
  readonly breaker: BreakerPlan | null
  readonly outlier: OutlierPlan | null
  /** Why it cannot be used, or null; its share answers 500. */
  readonly problem: string | null
}

export interface AdaptivePlan {
  readonly initial: number
  readonly min: number
  readonly max: number
  /** How much longer than in the long run is no sign of a queue. */
  readonly tolerance: number
  readonly smoothing: number
}

export interface EndpointPlan {
  /** Stable name, `host:port` unless the registry gave an id. */
  readonly id: string
  /** `host:port`, resolved to an IP address. */
  readonly address: string
  /** What it proves in TLS unless `serverName` says something else. */
  readonly host: string
  /** Weight as configured, 1 to 1000. */
  readonly weight: number
  /** What health and load leave of it: 0 to 1; 0 is unhealthy. Also set by `setWeights`. */
  readonly health: number
  readonly draining: boolean
  /** In the zone that the upstream prefers; all are where it prefers none. */
  readonly near: boolean
}

/** What a key is taken from: consistent hashing, rate limits, verdict caches. */
export interface KeyPlan {
  readonly by:
    | "clientIp"
    | "clientId"
    | "user"
    | "certificate"
    | "topic"
    | "path"
    | "host"
    | "route"
    | "header"
    | "query"
    | "cookie"
    | "hashKey"
    | Attribute
  /** Header, query parameter or cookie name; null for the rest. */
  readonly name: string | null
  /** What the key is taken from besides. */
  readonly also?: readonly KeyPlan[]
}

export type BalancePlan =
  | { readonly strategy: "roundRobin" }
  | { readonly strategy: "weighted"; readonly maxFails: number }
  | { readonly strategy: "leastConnections"; readonly bias: number }
  | { readonly strategy: "peakEwma"; readonly decayMs: number; readonly seedMs: number }
  | { readonly strategy: "ipHash"; readonly prefixV4: number; readonly prefixV6: number }
  | {
      readonly strategy: "consistentHash"
      readonly key: KeyPlan
      readonly algorithm: "ring" | "maglev"
      readonly size: number
      readonly boundedLoad: number | null
      /** The cookie of its key is given to who has none. */
      readonly set: CookiePlan | null
    }
  | { readonly strategy: "chosen"; readonly key: KeyPlan }
  | { readonly strategy: "loadScore"; readonly threshold: number }

/** A cookie that the gateway sets; `attributes` stand behind its value. `secure` null: where the client came by TLS. */
export interface CookiePlan {
  readonly name: string
  readonly attributes: string
  readonly secure: boolean | null
}

export interface BreakerPlan {
  /** Consecutive failures that open it; 0: not by count. */
  readonly failures: number
  /** Failure share in percent that opens it; 0: not by rate. */
  readonly ratePercent: number
  readonly windowMs: number
  readonly minRequests: number
  /** First time open; doubles up to `maxOpenMs` while probes fail. */
  readonly openMs: number
  readonly maxOpenMs: number
}

export interface OutlierPlan {
  readonly consecutive5xx: number
  readonly intervalMs: number
  readonly baseEjectionMs: number
  readonly maxEjectionMs: number
  readonly maxEjectedPercent: number
  /** 0: rates are not compared. */
  readonly successRateMinHosts: number
  readonly successRateMinRequests: number
  /** Thousandths. */
  readonly successRateStdevFactor: number
}

export interface RoutePlan {
  /** Stable name; a hash of the condition where the config gives none. */
  readonly name: string
  readonly priority: number
  readonly when: MatchPlan
  readonly target: TargetPlan
  readonly mirror: string | null
  /** In the order they run. */
  readonly steps: readonly StepPlan[]
  /** From the request's end to the response head; default 15,000. */
  readonly timeoutMs: number
  /** Why this route cannot serve, or null; it answers 500 (4.00, 0x80) and says so. */
  readonly problem: string | null
}

/** All given conditions must hold; null or empty: any. */
export interface MatchPlan {
  readonly protocols: readonly ProtocolName[]
  /** Lower case; `*.a.com` matches one or more labels. */
  readonly host: string | null
  readonly path: PathPlan | null
  readonly methods: readonly string[]
  readonly headers: readonly ValuePlan[]
  readonly query: readonly ValuePlan[]
  /** Topic filter with `+` and `#`. */
  readonly topic: string | null
  readonly clientId: TextPlan | null
  readonly user: TextPlan | null
  /** CIDRs. */
  readonly source: readonly string[]
  readonly sni: string | null
  readonly certificate: CertificateMatchPlan | null
}

/** A condition on the certificate that a client showed; `shown: false`: it showed none. */
export interface CertificateMatchPlan {
  readonly shown: boolean
  readonly subject: TextPlan | null
  /** Any one of the alternative names. */
  readonly name: TextPlan | null
  /** SHA-256, lower-case hexadecimal digits. */
  readonly fingerprint: string | null
}

/** `exact` `/a`; `prefix` `/a` (from `/a/**`: matches `/a`, `/a/` and below); `template` `/a/{id}`; `regex` anchored. */
export interface PathPlan {
  readonly kind: "exact" | "prefix" | "template" | "regex"
  readonly value: string
}

export interface TextPlan {
  readonly kind: "exact" | "regex" | "present"
  readonly value: string
}

export interface ValuePlan extends TextPlan {
  readonly name: string
}

export type TargetPlan =
  | { readonly kind: "upstreams"; readonly split: readonly { readonly upstream: string; readonly weight: number }[] }
  | {
      readonly kind: "respond"
      readonly status: number
      readonly headers: readonly HeaderPlan[]
      readonly body: string
    }
  | { readonly kind: "redirect"; readonly location: string; readonly status: number }
  | { readonly kind: "topic"; readonly topic: string }
  | { readonly kind: "handler"; readonly name: string }
  | { readonly kind: "directory"; readonly path: string }

export type HeaderPlan = readonly [name: string, value: string]

export type StepPlan =
  | { readonly kind: "setHeader"; readonly headers: readonly HeaderPlan[] }
  /** Besides those that the client sent. */
  | { readonly kind: "addHeader"; readonly headers: readonly HeaderPlan[] }
  | { readonly kind: "removeHeader"; readonly names: readonly string[] }
  | { readonly kind: "setResponseHeader"; readonly headers: readonly HeaderPlan[] }
  | { readonly kind: "addResponseHeader"; readonly headers: readonly HeaderPlan[] }
  | { readonly kind: "removeResponseHeader"; readonly names: readonly string[] }
  | {
      readonly kind: "cors"
      readonly origins: readonly string[]
      readonly methods: readonly string[]
      /** Empty: those that the preflight asks for. */
      readonly headers: readonly string[]
      readonly expose: readonly string[]
      readonly credentials: boolean
      readonly maxAgeS: number
    }
  | {
      readonly kind: "apiKey"
      readonly header: string | null
      readonly query: string | null
      /** Name of the client and SHA-256 of its key in hexadecimal digits; the key itself does not cross. */
      readonly keys: readonly (readonly [name: string, digest: string])[]
      readonly userHeader: string | null
    }
  | {
      readonly kind: "basicAuth"
      readonly realm: string
      /** Name and argon2id hash. */
      readonly users: readonly (readonly [name: string, hash: string])[]
      readonly userHeader: string | null
    }
  /** Which answers are kept (RFC 9111). */
  | {
      readonly kind: "cache"
      /** For answers that do not say; null: those are not kept. */
      readonly ttlMs: number | null
      readonly staleWhileRevalidateMs: number
      readonly staleIfErrorMs: number
    }
  | {
      readonly kind: "compress"
      readonly codings: readonly ("br" | "zstd" | "gzip")[]
      readonly minBytes: number
      readonly types: readonly string[]
    }
  /** Beyond it: 413. */
  | { readonly kind: "bodyLimit"; readonly bytes: number }
  /** Templates with `{rest}`, `{topic}` and the captures of the path; null: unchanged. */
  | {
      readonly kind: "rewrite"
      readonly path: string | null
      readonly host: string | null
      readonly topic: string | null
    }
  | {
      readonly kind: "respond"
      readonly status: number
      readonly headers: readonly HeaderPlan[]
      readonly body: string
    }
  /** `name`: limits with the same name share their buckets and outlive the plan. */
  | {
      readonly kind: "rateLimit"
      readonly name: string
      readonly perSecond: number
      readonly burst: number
      readonly key: KeyPlan
      readonly maxKeys: number
      /** Whether other gateways are told what passes. */
      readonly shared: boolean
    }
  | { readonly kind: "retry"; readonly retry: RetryPlan }
  /** Requests of the route at its upstreams at once; beyond: 503. */
  | { readonly kind: "bulkhead"; readonly max: number }
  | {
      readonly kind: "timeout"
      readonly ms: number
      readonly perTryMs: number | null
      /** Without progress of the answer's body; null: 300,000; 0: as long as it takes. */
      readonly idleMs: number | null
      /** Until the answer's last byte; null: as long as it takes. */
      readonly totalMs: number | null
    }
  | { readonly kind: "script"; readonly script: number }

export interface RetryPlan {
  /** Tries after the first. */
  readonly attempts: number
  readonly on: readonly ("connect-failure" | "reset" | "timeout" | "5xx" | "gateway-error" | "retriable-4xx" | "429")[]
  readonly backoff: "fixed" | "exponential"
  readonly baseMs: number
  readonly maxMs: number
  readonly budgetPercent: number
  readonly budgetMinPerSecond: number
  /** Also methods that are not idempotent. */
  readonly nonIdempotent: boolean
  /** A second try beside the first; null: none. */
  readonly hedge: HedgePlan | null
}

export interface HedgePlan {
  /** Null: what was learnt. */
  readonly afterMs: number | null
  readonly percentile: number
}

/** One use of a TypeScript policy (rungs 1 to 4 of the ladder). */
export interface ScriptPlan {
  /** Index into the decision ring's policy table; equals its place in `Plan.scripts`. */
  readonly id: number
  /** The policy's name: label of its metrics. */
  readonly policy: string
  /** Only messages that match cross to TypeScript; null: all. */
  readonly filter: MatchPlan | null
  readonly cache: { readonly by: KeyPlan; readonly ttlMs: number; readonly maxEntries: number } | null
  /** Fields copied into the decision record. */
  readonly reads: readonly FieldPlan[]
  readonly deadlineMs: number
  readonly fallback: "continue" | "reject"
}

export interface FieldPlan {
  readonly field:
    | "method"
    | "host"
    | "path"
    | "query"
    | "header"
    | "cookie"
    | "topic"
    | "clientId"
    | "contentType"
    | "user"
    | "certificate"
    | "source"
    | "protocol"
    | "payload"
    | Attribute
  /** For query, header and cookie. */
  readonly name: string | null
}

export interface HandlerPlan {
  readonly name: string
  readonly deadlineMs: number
  readonly maxBodyBytes: number
}

/** Scripts that the broker's hooks ask, by their place in `Plan.scripts`. */
export interface HooksPlan {
  readonly connect: readonly number[]
  readonly authenticate: readonly number[]
  /** Asked for pre-shared keys of DTLS. */
  readonly psk: readonly number[]
  readonly authorize: readonly number[]
  readonly publish: readonly number[]
  readonly subscribe: readonly number[]
  readonly deliver: readonly number[]
  readonly disconnect: readonly number[]
}

export interface BrokerPlan {
  /** Where topics stand in HTTP and CoAP paths; default `/t`. */
  readonly httpPath: string
  /** Messages that wait for one subscriber; default 1,000. */
  readonly maxQueued: number
  /** Bytes of messages that wait for one subscriber; default 16 MiB. */
  readonly maxQueuedBytes: number
  /** Bytes that wait for one MQTT client's socket; default 1 MiB. */
  readonly maxWaitingBytes: number
  /** Bytes that wait for all subscribers of a worker; default 256 MiB. */
  readonly maxQueuedTotalBytes: number
  readonly maxRetained: number
  readonly maxSubscriptionsPerClient: number
  /** Messages on their way between two workers; default 4,096. */
  readonly maxBetweenWorkers: number
  /** Longest that a message waits for a session; default 0: as long as it takes. */
  readonly maxQueuedAgeS: number
  /** Bytes of all logs in the data directory; default 8 GiB. */
  readonly maxStoredBytes: number
  /** What an acknowledgement survives: the end of the process (default), or of power. */
  readonly durability: "process" | "power"
  /** Delayed publishes that wait on one worker; default 100,000. */
  readonly maxDelayed: number
  /** Wills that wait on one worker for topic routes and policies; default 100,000. */
  readonly maxPendingWills: number
  /** Deliveries of publishes for many that are due on one worker; default 262,144. */
  readonly maxPendingDeliveries: number
  /** Between `$SYS` messages; 0: none. Default 10. */
  readonly sysIntervalS: number
  /** Which member of a shared subscription gets a message: in turns, or the same until it goes. */
  readonly sharedSubscriptions: "fair" | "sticky"
}

export interface MqttPlan {
  readonly maxSessions: number
  readonly maxPacketBytes: number
  readonly receiveMaximum: number
  readonly topicAliasMaximum: number
  readonly maxInflight: number
  /** 0: what the client asks for. */
  readonly serverKeepAliveS: number
  readonly maxSessionExpiryS: number
  readonly connectTimeoutMs: number
  /** What response topics may begin with, `%c` for the client id; null: nothing is said. */
  readonly responseInformation: string | null
  /** CONNECTs answered in a second, beyond 0x9F; 0: no bound. */
  readonly maxConnectsPerS: number
  readonly redirect: RedirectPlan | null
}

/** Where MQTT 5 clients are sent: `always`, or only when the gateway drains. */
export interface RedirectPlan {
  /** The Server Reference, `host:port`. */
  readonly to: string
  /** 0x9D instead of 0x9C. */
  readonly permanent: boolean
  readonly always: boolean
}

export interface CoapPlan {
  readonly maxBlockBytes: number
  readonly maxObservers: number
  readonly maxObserversPerClient: number
  readonly maxAsleepS: number
  readonly maxAsleepMessages: number
  readonly maxAsleepBytes: number
  readonly maxAsleepTotalBytes: number
  readonly maxUpstreamObservations: number
  readonly dedupEntries: number
  readonly datagramsPerCall: number
  readonly nstart: number
  readonly cacheEntries: number
  readonly maxSessions: number
  readonly maxHandshakes: number
  readonly maxHandshakesPerS: number
  readonly sessionIdleMs: number
  readonly ackTimeoutMs: number
  readonly maxRetransmit: number
  readonly maxRegistrations: number
  readonly maxRegistrationBytes: number
  readonly hopLimit: number
  /** Whether requests with Proxy-Uri or Proxy-Scheme are routed. */
  readonly forwardProxy: boolean
  /** What names the gateway in them: `host`, or `host:port`. */
  readonly ownHosts: readonly string[]
}

export interface AccessPlan {
  readonly users: readonly UserPlan[]
  /** Users to whom everything is allowed. */
  readonly superusers: readonly string[]
  readonly jwt: JwtPlan | null
  readonly http: AuthServicePlan | null
  /** First match decides; where the list is empty everything is allowed to whoever came in. */
  readonly acl: readonly AclRulePlan[]
}

export interface UserPlan {
  readonly name: string
  /** argon2id PHC string; null: no password that comes as it is is right. */
  readonly hash: string | null
  /** `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` of enhanced authentication. */
  readonly scram: string | null
}

/** JSON Web Tokens as passwords, or as `Authorization: Bearer`. */
export interface JwtPlan {
  readonly keys: readonly { readonly kind: "secret" | "pem" | "jwks"; readonly text: string }[]
  readonly issuer: string | null
  readonly audience: string | null
  /** The claim that names the user; default `sub`. */
  readonly userClaim: string
  /** The claim that holds rules; default `acl`. */
  readonly aclClaim: string
}

/** A service that is asked about who is no user of the configuration. */
export interface AuthServicePlan {
  readonly upstream: string
  readonly path: string
  readonly timeoutMs: number
  readonly cacheS: number
}

export interface AclRulePlan {
  /** User name or null: any, anonymous too. */
  readonly user: string | null
  readonly clientId: string | null
  readonly action: "publish" | "subscribe" | "all"
  /** Topic filter; `%u` and `%c` stand for user and client id. */
  readonly topic: string
  readonly allow: boolean
}

export interface LimitsPlan {
  readonly maxConnections: number
  readonly maxConnectionsPerSource: number
  /** From accept to the first whole request head or CONNECT: half-open. Default 5,000. */
  readonly halfOpenMs: number
  readonly headerTimeoutMs: number
  readonly idleTimeoutMs: number
  /** A body or a reader that makes no progress for that long is cut. */
  readonly stallTimeoutMs: number
  readonly headerLineBytes: number
  readonly headerTotalBytes: number
  readonly headerCount: number
  readonly bodyCollectedBytes: number
  readonly websocketMessageBytes: number
  /** Without a byte on a WebSocket; 0: never. */
  readonly websocketIdleMs: number
  /** From upgrade to Close; 0: as long as it likes. */
  readonly websocketLifetimeMs: number
  readonly topicLevels: number
  /** Decisions that wait in one worker. */
  readonly maxDecisions: number
  /** A worker that is so late turns requests away; 0: never. */
  readonly shedLagMs: number
  /** Above so much resident memory requests are turned away; 0: never. */
  readonly shedMemoryBytes: number
  /** A worker that uses so much of a core turns requests away; 0: never. */
  readonly shedCpuPercent: number
  /** New connections of one address in a second; 0: as they come. */
  readonly maxConnectsPerSourcePerS: number
  /** While the event loop is so late, nobody waits for it; 0: never. */
  readonly shedLoopLagMs: number
  readonly cacheBytes: number
  readonly cacheEntries: number
  readonly cacheEntryBytes: number
  /** Copies for mirrors under way on one worker. */
  readonly mirrorCopies: number
  readonly mirrorCopyBytes: number
  readonly mirrorTotalBytes: number
  readonly mirrorTimeoutMs: number
  /** Streams at the same time on one HTTP/2 connection. */
  readonly http2Streams: number
  readonly http2ResetsPerSecond: number
  /** PING, SETTINGS, PRIORITY, WINDOW_UPDATE and empty DATA frames. */
  readonly http2ControlPerSecond: number
}

/** What a forwarded request is told to its upstream, besides `X-Forwarded-*`. */
export interface ForwardPlan {
  readonly via: boolean
  /** A `Forwarded` element, also where none came. */
  readonly forwarded: boolean
  /** `X-Request-Id` where there is none. */
  readonly requestId: boolean
  /** Begin a trace where there is none. */
  readonly traceparent: boolean
  /** How the upstream is told of the client's certificate. */
  readonly clientCertificate: "none" | "xfcc" | "rfc9440"
}

export interface AccessLogPlan {
  readonly format: "json" | "common" | "combined"
  /** Absolute path; null: standard output. */
  readonly file: string | null
  /** One request in so many. */
  readonly sampleEvery: number
}

export interface LogPlan {
  /** One access record in so many requests; 0: none. Errors are always recorded. */
  readonly sampleEvery: number
  readonly access: AccessLogPlan | null
}
