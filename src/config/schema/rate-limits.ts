/** `rateLimits`: how several gateways share the limits that say `shared: true`. */
import Type from "typebox"
import { NATS } from "./nats.ts"
import { Exact, Secret } from "./values.ts"

/** Exactly one of them carries what the gateways tell each other. */
export const RATE_LIMIT_KINDS = ["redis", "nats"] as const

export const RateLimitsSchema = Exact(
  {
    redis: Type.Optional(Exact({ url: Secret })),
    nats: Type.Optional(Exact(NATS)),
    channel: Type.Optional(
      Type.String({
        pattern: "^[A-Za-z0-9_.-]+$",
        default: "tidegate.limits",
        description: "of Redis, or subject of NATS; gateways of one channel share their limits",
      }),
    ),
    intervalMs: Type.Optional(
      Type.Integer({
        minimum: 10,
        maximum: 60_000,
        default: 100,
        description: "between two tellings; so long gateways know nothing of each other",
      }),
    ),
  },
  "where gateways tell each other what passed the limits that they share",
)
