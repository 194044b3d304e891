/**
 * What the calls of the admin API answer, as the OpenAPI document tells it. The schemas describe
 * and do not filter: what an answer has besides stays in it. A test holds the answers against them.
 */
import Type, { type TSchema } from "typebox"

export const Text = Type.String()
export const Count = Type.Integer({ minimum: 0 })
const Time = Type.String({ description: "RFC 3339" })
export const Millis = Type.Integer({ minimum: 0, description: "milliseconds since 1970" })

export function orNull<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()])
}

/** One page of a list. */
export function items(item: TSchema, isPaged = false) {
  const cursor = { nextCursor: orNull(Type.String({ description: "for `cursor` of the next page" })) }
  return Type.Object({ items: Type.Array(item), ...(isPaged && cursor) })
}

export const PROBLEM = Type.Object(
  {
    type: Text,
    title: Text,
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Text,
    code: Type.Optional(Type.String({ description: "Tidegate's own, from the list of error codes" })),
    hint: Type.Optional(Text),
    problems: Type.Optional(
      Type.Array(Type.Object({ path: Text, message: Text, line: Type.Optional(orNull(Count)) }), {
        description: "of a configuration that was refused, all of them",
      }),
    ),
  },
  { description: "RFC 9457" },
)

export const INSTANCE = Type.Object({
  id: Text,
  service: Text,
  host: Text,
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  protocol: Text,
  weight: Count,
  zone: orNull(Text),
  version: orNull(Text),
  metadata: Type.Record(Type.String(), Text),
  ttlSeconds: orNull(Count),
  status: Type.Enum(["healthy", "unhealthy", "unknown", "draining"]),
  load: orNull(Type.Object({ active: Type.Number(), max: Type.Number(), cpu: Type.Number(), memory: Type.Number() })),
  registeredAt: Time,
  lastHeartbeatAt: Time,
})

export const SERVICE = Type.Object({
  name: Text,
  source: orNull(
    Type.Object(
      { kind: Text, stale: Type.Boolean(), fault: orNull(Text) },
      { description: "null: fixed in the configuration or registered" },
    ),
  ),
  instances: Count,
  healthy: Count,
})

export const CONNECTION = Type.Object({
  id: Text,
  protocol: Text,
  listener: Text,
  peer: Text,
  clientId: orNull(Text),
  state: Type.Enum(["active", "idle", "closing"]),
  createdAt: Millis,
  lastActivityAt: Millis,
  bytesIn: Count,
  bytesOut: Count,
})

export const UPSTREAM = Type.Object({
  name: Text,
  breaker: orNull(Type.Enum(["closed", "open", "half-open"])),
  problem: orNull(Text),
  endpoints: Type.Array(
    Type.Object({
      id: Text,
      address: Text,
      health: Type.Enum(["healthy", "unhealthy", "unknown"]),
      healthShare: Type.Number({ description: "what is left of the weight" }),
      weight: Count,
      active: Count,
      draining: Type.Boolean(),
      ejectedUntil: orNull(Millis),
    }),
  ),
})

export const ROUTE = Type.Object({
  name: Text,
  priority: Type.Integer(),
  when: Type.Object({}),
  target: Type.Object({}),
  mirror: orNull(Type.Unknown()),
  status: Type.Enum(["serving", "broken"]),
  problem: orNull(Text),
})

export const EXPLANATION = Type.Object({
  route: orNull(Text),
  target: orNull(Type.Object({})),
  endpoint: orNull(Text),
  score: orNull(Type.Number({ description: "what speaks for the endpoint, by the upstream's strategy" })),
  endpoints: Type.Array(
    Type.Object({ endpoint: Text, score: Type.Number(), active: Count }, { description: "at most 32" }),
  ),
  candidates: Type.Array(Type.Object({ route: Text, matched: Type.Boolean(), reason: Text })),
  policies: Type.Array(Type.Object({ name: Text, verdict: Text })),
})

export const VERSION = Type.Object({
  version: Count,
  at: Time,
  origin: Text,
  restores: Type.Optional(Count),
  data: Type.Optional(Type.Unknown({ description: "the configuration, secrets hidden" })),
})

export const CLIENT = Type.Object({
  clientId: Text,
  connected: Type.Boolean(),
  user: orNull(Text),
  subscriptions: Type.Array(Type.Object({ filter: Text, qos: Type.Integer({ minimum: 0, maximum: 2 }) })),
  queued: Count,
  queuedBytes: Count,
  inflight: Count,
  inbound: Count,
  dropped: Count,
  lastError: orNull(Text),
})

export const RETAINED = Type.Object({
  topic: Text,
  payload: Type.String({ description: "base64" }),
  text: orNull(Type.String({ description: "the payload, where it is UTF-8" })),
  qos: Type.Integer({ minimum: 0, maximum: 2 }),
  bytes: Count,
  contentType: orNull(Text),
  expiresInSeconds: orNull(Count),
})

export const AUDIT = Type.Object({
  at: Time,
  caller: Text,
  role: Text,
  address: Text,
  method: Text,
  path: Text,
  status: Count,
  version: Count,
})

export const STATS = Type.Object({
  at: Millis,
  state: Type.Enum(["created", "running", "draining", "closed"]),
  version: Count,
  process: Type.Object({
    uptimeSeconds: Type.Number(),
    residentBytes: Count,
    cpuSeconds: Type.Number(),
    eventLoopLagMs: Type.Number(),
  }),
  protocols: Type.Array(Type.Object({ protocol: Text })),
  routes: Type.Array(Type.Object({ route: Text })),
  upstreams: Type.Array(Type.Object({ upstream: Text })),
  drops: Type.Array(Type.Object({ reason: Text })),
})

export const ALERT = Type.Object({ name: Text, state: Type.Enum(["quiet", "pending", "firing"]) })

/** A body of this type of content, in the words of OpenAPI. */
export function content(type: string, description: string, schema: TSchema = Text) {
  return { description, content: { [type]: { schema } } }
}

/** A call that has nothing to say when it went well. */
export const NOTHING = { 204: Type.Null({ description: "done" }) }

/** An answer that goes on, as server-sent events. */
export const EVENTS = { 200: content("text/event-stream", "events, until the reader goes") }

/** Everything that is not well, of every call. */
export const REFUSED = { default: content("application/problem+json", "what is wrong, and where", PROBLEM) }

const VERDICT = Type.Unknown({ description: "as the data plane reads it" })

export const POLICY = Type.Object({
  name: Text,
  version: orNull(Text),
  calls: Type.Record(Type.String(), Count, { description: "by outcome: filtered, cached, decided, timeout, error" }),
  seconds: Type.Number({ description: "from asking to the verdict, all calls together" }),
  shadow: orNull(
    Type.Object({
      version: orNull(Text),
      same: Count,
      differs: Count,
      error: Count,
      skipped: Count,
      differences: Type.Array(
        Type.Object({
          at: Millis,
          message: Type.Record(Type.String(), orNull(Text)),
          verdict: VERDICT,
          shadow: VERDICT,
          error: orNull(Text),
        }),
        { description: "the last ones" },
      ),
    }),
  ),
})
