/** `upstreams` and `services`: who answers. */
import Type from "typebox"
import { STRATEGIES, type StrategyName } from "../../balance/index.ts"
import { AdaptiveSchema, BreakerSchema, OutlierSchema } from "../../resilience/index.ts"
import { numbers, UPSTREAM } from "./numbers.ts"
import { GoalsSchema } from "./optimizer.ts"
import { ClientTlsSchema } from "./tls.ts"
import { Exact, Port, Texts, Weight } from "./values.ts"

const names = Object.keys(STRATEGIES) as StrategyName[]

type StrategyOptions = { [N in StrategyName]: ReturnType<typeof Type.Optional<(typeof STRATEGIES)[N]["options"]>> }

const byStrategy = Object.fromEntries(
  names.map((name) => [name, Type.Optional(STRATEGIES[name].options)]),
) as StrategyOptions

export const BalanceSchema = Type.Union(
  [
    Type.Enum(names),
    Exact({
      ...byStrategy,
      custom: Type.Optional(Type.String({ minLength: 1, description: "name of a defineBalancer" })),
    }),
  ],
  { description: "default roundRobin" },
)

const Interval = (standard: number, description: string) =>
  Type.Optional(Type.Integer({ minimum: 10, maximum: 3_600_000, default: standard, description }))

const Count = (standard: number, description: string) =>
  Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: standard, description }))

/** Exactly one of them says what a check does. */
export const HEALTH_KINDS = ["http", "tcp", "grpc", "mqtt", "coap", "command", "custom"] as const

export const HealthSchema = Exact({
  http: Type.Optional(Type.String({ pattern: "^/", description: "path that must answer" })),
  tcp: Type.Optional(Type.Literal(true, { description: "a connection must open" })),
  grpc: Type.Optional(
    Type.Union([Type.Literal(true), Type.String({ minLength: 1 })], {
      description: "grpc.health.v1 must say SERVING, of the whole server or of that service",
    }),
  ),
  mqtt: Type.Optional(Type.Literal(true, { description: "CONNECT and PINGREQ must be answered" })),
  coap: Type.Optional(Type.Literal(true, { description: "a ping must be answered" })),
  command: Type.Optional(
    Type.Array(Type.String({ minLength: 1 }), {
      minItems: 1,
      maxItems: 64,
      description: "program and arguments that must exit with 0; no shell, {host} and {port} are replaced",
    }),
  ),
  custom: Type.Optional(Type.String({ minLength: 1, description: "name of a defineHealthCheck" })),
  status: Type.Optional(
    Type.Union(
      [Type.Integer({ minimum: 100, maximum: 599 }), Type.Array(Type.Integer({ minimum: 100, maximum: 599 }))],
      {
        description: "expected of an http check; default 200 to 399",
      },
    ),
  ),
  body: Type.Optional(Type.String({ minLength: 1, description: "text the body of an http check must contain" })),
  host: Type.Optional(Type.String({ minLength: 1, description: "Host of an http check; default the endpoint" })),
  intervalMs: Interval(2_000, "between two checks"),
  timeoutMs: Interval(1_000, "of one check"),
  rise: Count(2, "passed checks that make it healthy"),
  fall: Count(3, "failed checks that make it unhealthy"),
})

export const EndpointSchema = Type.Union([
  Type.String({ minLength: 1 }),
  Exact({
    address: Type.String({ minLength: 1, description: "HOST:PORT" }),
    weight: Type.Optional(Weight),
    zone: Type.Optional(Type.String()),
    labels: Type.Optional(Texts),
  }),
])

const subset = {
  zone: Type.Optional(Type.String()),
  version: Type.Optional(Type.String()),
  labels: Type.Optional(Texts),
}

export const UpstreamSchema = Exact({
  endpoints: Type.Optional(Type.Array(EndpointSchema, { description: "HOST:PORT, or with a weight" })),
  service: Type.Optional(Type.String({ minLength: 1, description: "name in the registry, instead of endpoints" })),
  subset: Type.Optional(
    Exact(
      {
        ...subset,
        fallback: Type.Optional(
          Type.Union([Type.Enum(["none", "any"]), Exact(subset)], {
            description: "who is meant where nobody is of it; default none",
          }),
        ),
      },
      "only endpoints that have all of these; labels of instances are their metadata",
    ),
  ),
  preferZone: Type.Optional(
    Type.String({
      minLength: 1,
      description: "endpoints of this zone get everything while 71 % of them are healthy, then the rest spills over",
    }),
  ),
  protocol: Type.Optional(
    Type.Enum(["http1", "h2c", "h2", "mqtt", "coap"], {
      description:
        "default http1, with tls what is agreed on; mqtt: brokers that clients are proxied to; coap: over UDP",
    }),
  ),
  balance: Type.Optional(BalanceSchema),
  health: Type.Optional(HealthSchema),
  breaker: Type.Optional(BreakerSchema),
  adaptive: Type.Optional(AdaptiveSchema),
  outlier: Type.Optional(Type.Union([Type.Literal(false), OutlierSchema])),
  goals: Type.Optional(GoalsSchema),
  tls: Type.Optional(ClientTlsSchema),
  proxyProtocol: Type.Optional(
    Type.Enum(["v1", "v2"], { description: "each connection begins with whose it is, and serves that client alone" }),
  ),
  ...numbers(UPSTREAM),
})

export const InstanceSchema = Type.Union([
  Type.String({ minLength: 1 }),
  Exact({
    id: Type.Optional(Type.String({ minLength: 1 })),
    host: Type.String({ minLength: 1 }),
    port: Port,
    protocol: Type.Optional(Type.String()),
    weight: Type.Optional(Weight),
    zone: Type.Optional(Type.String()),
    version: Type.Optional(Type.String()),
    metadata: Type.Optional(Texts),
  }),
])
