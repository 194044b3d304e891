/**
 * retry: further tries on other endpoints, for idempotent methods, inside the route's
 * timeout and within a budget of the active requests.
 */
import Type, { type Static } from "typebox"
import type { HedgePlan, RetryPlan } from "../native/index.ts"
import { Ms, Percent } from "./step.ts"

const HedgeSchema = Type.Union(
  [
    Type.Boolean(),
    Type.Object(
      {
        afterMs: Type.Optional(Ms("wait for the first answer; default: what the percentile says")),
        percentile: Type.Optional(
          Type.Number({ minimum: 50, maximum: 99.9, description: "of the route's answers so far; default 95" }),
        ),
      },
      { additionalProperties: false },
    ),
  ],
  {
    description:
      "a late answer's request goes to a second endpoint too, the first good answer wins; idempotent methods, within the budget; default false",
  },
)

export const RetrySchema = Type.Object(
  {
    attempts: Type.Optional(Type.Integer({ minimum: 1, maximum: 10, description: "tries after the first; default 1" })),
    on: Type.Optional(
      Type.Array(Type.Enum(["connect-failure", "reset", "timeout", "5xx", "gateway-error", "retriable-4xx", "429"]), {
        minItems: 1,
        description: "default connect-failure, reset, gateway-error",
      }),
    ),
    backoff: Type.Optional(Type.Enum(["fixed", "exponential"], { description: "default exponential, with jitter" })),
    baseMs: Type.Optional(Ms("default 25")),
    maxMs: Type.Optional(Ms("default 250")),
    budgetPercent: Type.Optional(Percent("share of the active requests that may be retries; default 20")),
    budgetMinPerSecond: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 10_000, description: "allowed in any case; default 10" }),
    ),
    nonIdempotent: Type.Optional(Type.Boolean({ description: "also POST and PATCH; default false" })),
    hedge: Type.Optional(HedgeSchema),
  },
  { additionalProperties: false },
)

export type RetryOptions = Static<typeof RetrySchema>

export function toRetryPlan(options: RetryOptions): RetryPlan {
  return {
    attempts: options.attempts ?? 1,
    on: options.on ?? ["connect-failure", "reset", "gateway-error"],
    backoff: options.backoff ?? "exponential",
    baseMs: options.baseMs ?? 25,
    maxMs: options.maxMs ?? 250,
    budgetPercent: options.budgetPercent ?? 20,
    budgetMinPerSecond: options.budgetMinPerSecond ?? 10,
    nonIdempotent: options.nonIdempotent ?? false,
    hedge: toHedgePlan(options.hedge),
  }
}

function toHedgePlan(options: RetryOptions["hedge"]): HedgePlan | null {
  if (options === undefined || options === false) return null
  const { afterMs = null, percentile = 95 } = options === true ? {} : options
  return { afterMs, percentile }
}
