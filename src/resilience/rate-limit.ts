/** rateLimit: a token bucket per key, process-wide: 10 a second means 10, whatever the number of workers; with `shared` of gateways. */
import Type, { type Static } from "typebox"
import type { StepPlan } from "../native/index.ts"
import { toKeyPlan } from "../policy/index.ts"
import { KeySchema } from "./step.ts"

export const RateLimitSchema = Type.Object(
  {
    perSecond: Type.Number({ exclusiveMinimum: 0, maximum: 10_000_000 }),
    burst: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 10_000_000, description: "default: one second's worth, at least 1" }),
    ),
    key: Type.Optional(KeySchema),
    name: Type.Optional(
      Type.String({
        minLength: 1,
        description: "limits of the same name share their buckets; default: the route's name",
      }),
    ),
    shared: Type.Optional(
      Type.Boolean({ description: "one limit for all gateways of `rateLimits`, by its name; default false" }),
    ),
    maxKeys: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000_000, description: "default 100000" })),
  },
  { additionalProperties: false },
)

export type RateLimitOptions = Static<typeof RateLimitSchema>

/** `owner` names the buckets where the user did not. */
export function toRateLimitStep(options: RateLimitOptions, owner: string): StepPlan {
  return {
    kind: "rateLimit",
    name: options.name ?? owner,
    perSecond: options.perSecond,
    burst: options.burst ?? Math.max(1, Math.ceil(options.perSecond)),
    key: toKeyPlan(options.key ?? "clientIp"),
    maxKeys: options.maxKeys ?? 100_000,
    shared: options.shared ?? false,
  }
}
