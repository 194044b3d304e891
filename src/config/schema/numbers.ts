/**
 * The documented table of every number a user may change: default, bounds, meaning.
 * Schema, defaults and documentation come from it; nothing else holds a default.
 */
import Type, { type TInteger, type TOptional } from "typebox"

/** Default, least, most, meaning. */
export type NumberRow = readonly [standard: number, least: number, most: number, meaning: string]

const KIB = 1_024
const MIB = 1_024 * KIB
const DAY_S = 86_400

/** `limits`: what one peer, one connection and the whole process may take. */
export const LIMITS = {
  maxConnections: [100_000, 1, 10_000_000, "connections at the same time, in total"],
  maxConnectionsPerSource: [10_000, 1, 10_000_000, "connections at the same time from one address"],
  halfOpenMs: [5_000, 100, 600_000, "from accept to the first whole request head or CONNECT"],
  headerTimeoutMs: [10_000, 100, 600_000, "for one request head on a kept-alive connection, in total"],
  idleTimeoutMs: [75_000, 100, 86_400_000, "without a request on a kept-alive connection"],
  stallTimeoutMs: [10_000, 100, 3_600_000, "without progress of a body or a reader"],
  headerLineBytes: [8 * KIB, 256, MIB, "one header line"],
  headerTotalBytes: [32 * KIB, KIB, MIB, "a whole head"],
  headerCount: [100, 8, 1_000, "header fields"],
  bodyCollectedBytes: [MIB, 0, 256 * MIB, "a body that is collected: topics and handlers; proxied bodies stream"],
  websocketMessageBytes: [MIB, 125, 256 * MIB, "one WebSocket message that the gateway itself reads"],
  websocketIdleMs: [300_000, 0, DAY_S * 1_000, "without a byte in either direction of a WebSocket; 0: never"],
  websocketLifetimeMs: [0, 0, 30 * DAY_S * 1_000, "from a WebSocket's upgrade to its Close; 0: as long as it likes"],
  topicLevels: [128, 1, 128, "levels of a topic or filter"],
  cacheBytes: [64 * MIB, 0, 1_024 * 1_024 * MIB, "answers that are kept (`cache`), all together"],
  cacheEntries: [10_000, 0, 100_000_000, "answers that are kept, all together"],
  cacheEntryBytes: [MIB, 0, 256 * MIB, "the body of one answer that is kept; longer ones pass"],
  mirrorCopies: [256, 1, 65_536, "copies for mirrors that are under way on one worker"],
  mirrorCopyBytes: [MIB, 256 * KIB, 256 * MIB, "bytes of one copy that wait for its mirror"],
  mirrorTotalBytes: [16 * MIB, 256 * KIB, 65_536 * MIB, "bytes of all copies of a worker that wait"],
  mirrorTimeoutMs: [15_000, 100, 3_600_000, "from the end of a copy to the end of its answer, which nobody reads"],
  http2Streams: [128, 1, 100_000, "streams at the same time on one HTTP/2 connection"],
  http2ResetsPerSecond: [100, 1, 1_000_000, "streams that an HTTP/2 client takes back"],
  http2ControlPerSecond: [
    1_000,
    10,
    1_000_000,
    "PING, SETTINGS, PRIORITY, WINDOW_UPDATE, GOAWAY, unknown frames and DATA without data, besides ten for each frame that was sent",
  ],
  maxConnectsPerSourcePerS: [
    0,
    0,
    10_000_000,
    "new connections in a second from one address, refused before TLS; 0: as they come",
  ],
  maxDecisions: [512, 1, 512, "policy decisions that wait in one worker"],
  shedLagMs: [0, 0, 60_000, "a worker that is so late turns requests away with 503; 0: never"],
  shedLoopLagMs: [
    0,
    0,
    60_000,
    "while the event loop of policies and handlers is so late, nobody waits for it: fallbacks, 503 of handlers; 0: never",
  ],
  shedCpuPercent: [0, 0, 100, "a worker that uses so much of a core turns requests away with 503; 0: never"],
  shedMemoryBytes: [0, 0, 1_099_511_627_776, "above it, resident, requests are turned away with 503; 0: never"],
} as const satisfies Record<string, NumberRow>

/** `broker`: queues and counts of the embedded broker. */
export const BROKER = {
  maxQueued: [1_000, 1, 1_000_000, "messages that wait for one subscriber"],
  maxQueuedBytes: [16 * MIB, KIB, 1_024 * MIB, "bytes of messages that wait for one subscriber"],
  maxWaitingBytes: [MIB, KIB, 1_024 * MIB, "bytes that wait for one MQTT client's socket"],
  maxQueuedTotalBytes: [256 * MIB, MIB, 64 * 1_024 * MIB, "bytes that wait for all subscribers of a worker"],
  maxRetained: [1_000_000, 0, 100_000_000, "retained messages"],
  maxSubscriptionsPerClient: [1_000, 1, 1_000_000, "subscriptions of one client"],
  maxBetweenWorkers: [4_096, 16, 1_000_000, "messages on their way between two workers"],
  maxQueuedAgeS: [0, 0, 4_294_967_295, "longest that a message waits for a session; 0: as long as it takes"],
  maxDelayed: [100_000, 0, 10_000_000, "publishes to `$delayed/...` that wait on one worker"],
  maxPendingWills: [
    100_000,
    1,
    10_000_000,
    "wills that wait on one worker for topic routes and policies; those beyond are dropped",
  ],
  maxPendingDeliveries: [
    262_144,
    1,
    100_000_000,
    "deliveries of publishes for many that are due on one worker; then publishers wait",
  ],
  sysIntervalS: [10, 0, 86_400, "between messages under `$SYS`; 0: none"],
  maxStoredBytes: [8_192 * MIB, 64 * MIB, 16_777_216 * MIB, "bytes of the logs in the data directory"],
} as const satisfies Record<string, NumberRow>

/** `mqtt`: what the broker announces and enforces. */
export const MQTT = {
  maxSessions: [1_000_000, 1, 100_000_000, "sessions, connected or not"],
  maxPacketBytes: [MIB + 64 * KIB, 128, 256 * MIB, "a whole packet from a client or a proxied client's broker"],
  receiveMaximum: [1_024, 1, 65_535, "QoS 1 and 2 messages a client may have under way"],
  topicAliasMaximum: [32, 0, 65_535, "topic aliases, either way"],
  maxInflight: [64, 1, 65_535, "QoS 1 and 2 messages under way to one client"],
  serverKeepAliveS: [0, 0, 65_535, "0: what the client asks for"],
  maxSessionExpiryS: [7 * DAY_S, 0, 4_294_967_295, "longest a session outlives its connection"],
  connectTimeoutMs: [5_000, 100, 600_000, "from accept to CONNECT"],
  maxConnectsPerS: [0, 0, 10_000_000, "CONNECTs answered in a second, by all workers together; 0: as they come"],
} as const satisfies Record<string, NumberRow>

/** `coap`: transmission and state. RFC 7252 section 4.8. */
export const COAP = {
  maxBlockBytes: [MIB, 16, 64 * MIB, "a body put together from blocks"],
  maxObservers: [100_000, 0, 10_000_000, "observations in total"],
  maxObserversPerClient: [100, 0, 100_000, "observations of one client"],
  maxAsleepS: [3_600, 0, 31_536_000, "a silent observer is waited for; 0: it is given up at once"],
  maxAsleepMessages: [100, 1, 1_000_000, "messages that wait for one sleeping observer's client"],
  maxAsleepBytes: [
    64 * KIB,
    256,
    64 * MIB,
    "bytes of them; a newer state takes the place of an older one whatever its length",
  ],
  maxAsleepTotalBytes: [64 * MIB, 256, 65_536 * MIB, "bytes that wait for all sleeping clients of a worker"],
  maxUpstreamObservations: [1_000, 0, 1_000_000, "resources of upstreams that a worker observes for clients; 0: none"],
  dedupEntries: [65_536, 16, 16_777_216, "message ids a worker remembers"],
  datagramsPerCall: [64, 1, 64, "most datagrams of one system call at a UDP socket, which keeps 2 KiB for each"],
  nstart: [1, 1, 1_024, "requests to one endpoint of an upstream that are not acknowledged or answered, per worker"],
  cacheEntries: [256, 0, 65_536, "answers of upstreams a worker keeps for their Max-Age; 0: none"],
  maxSessions: [100_000, 0, 10_000_000, "DTLS sessions; new clients are shed, not those that are there"],
  maxHandshakes: [1_024, 1, 1_000_000, "DTLS handshakes under way"],
  maxHandshakesPerS: [1_000, 1, 1_000_000, "DTLS handshakes that begin in a second"],
  sessionIdleMs: [86_400_000, 1_000, 31_536_000_000, "a silent DTLS session is kept"],
  ackTimeoutMs: [2_000, 100, 60_000, "before the first retransmission"],
  maxRetransmit: [4, 0, 20, "retransmissions"],
  maxRegistrations: [10_000, 0, 1_000_000, "endpoints in the resource directory; 0: there is none"],
  maxRegistrationBytes: [16 * KIB, 1, MIB, "links that an endpoint registers"],
  hopLimit: [16, 0, 255, "Hop-Limit (RFC 8768) of requests that come without one and go on by CoAP; 0: none"],
} as const satisfies Record<string, NumberRow>

/** `drain`: how the gateway leaves. */
export const DRAIN = {
  delayMs: [0, 0, 3_600_000, "from `/ready` 503 until it stops accepting"],
  timeoutMs: [30_000, 0, 3_600_000, "until what is left is closed; goodbyes are spread over its first half"],
} as const satisfies Record<string, NumberRow>

/** Numbers of an upstream. */
export const UPSTREAM = {
  connectTimeoutMs: [2_000, 1, 600_000, "for a new connection to an endpoint"],
  idleTimeoutMs: [60_000, 1, 86_400_000, "an unused connection is kept"],
  maxConnections: [1_024, 1, 1_000_000, "connections"],
  maxStreams: [100, 1, 100_000, "requests at the same time on one HTTP/2 connection"],
  maxPending: [1_024, 0, 1_000_000, "requests that wait for a connection"],
  maxRequests: [1_024, 1, 10_000_000, "requests at the same time, besides those in line for a connection of HTTP/1.1"],
  maxRetries: [3, 0, 1_000_000, "retries at the same time"],
  slowStartMs: [
    0,
    0,
    3_600_000,
    "a new or recovered endpoint gets its weight over this time, from a tenth on; 0: at once",
  ],
  panicPercent: [50, 0, 100, "below this share of healthy endpoints health is ignored"],
} as const satisfies Record<string, NumberRow>

/** `optimizer`. */
export const OPTIMIZER = {
  intervalMs: [30_000, 1_000, 3_600_000, "between two looks"],
  minRequests: [100, 1, 1_000_000, "requests of a look; fewer say nothing"],
  stepPercent: [20, 1, 50, "most that a change moves"],
} as const satisfies Record<string, NumberRow>

type Table = Readonly<Record<string, NumberRow>>

/** Schema properties of a table, all optional. */
export function numbers<T extends Table>(table: T): { [K in keyof T]: TOptional<TInteger> } {
  const entries = Object.entries(table).map(([name, [standard, minimum, maximum, meaning]]) => {
    return [name, Type.Optional(Type.Integer({ minimum, maximum, default: standard, description: meaning }))] as const
  })
  return Object.fromEntries(entries) as { [K in keyof T]: TOptional<TInteger> }
}

/** The table's defaults with what the user gave on top. */
export function withDefaults<T extends Table>(
  table: T,
  given: Partial<Record<keyof T, number>> = {},
): { [K in keyof T]: number } {
  const entries = Object.entries(table).map(([name, [standard]]) => [name, given[name] ?? standard] as const)
  return Object.fromEntries(entries) as { [K in keyof T]: number }
}
