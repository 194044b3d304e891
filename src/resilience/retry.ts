/**
 * retry: further tries on other endpoints, for idempotent methods, inside the route's
 * timeout and within a budget of the active requests.
 */
import Type, { type Static } from "typebox"
import type { RetryPlan } from "../native/index.ts"
import { Ms, Percent } from "./step.ts"

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
  }
}
