/**
 * breaker: closed admits, open rejects at once, half-open lets one probe through. Its
 * state belongs to the upstream, so two routes cannot ask for different ones.
 */
import Type, { type Static } from "typebox"
import type { BreakerPlan } from "../native/index.ts"
import { Ms, Percent } from "./step.ts"

export const BreakerSchema = Type.Object(
  {
    failures: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 10_000, description: "in a row that open it; default 5, 0: not by count" }),
    ),
    ratePercent: Type.Optional(Percent("failure share that opens it; default 0: not by rate")),
    windowMs: Type.Optional(Ms("of the rate; default 10000")),
    minRequests: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000, description: "before the rate counts; default 20" }),
    ),
    openMs: Type.Optional(Ms("before the first probe; default 10000")),
    maxOpenMs: Type.Optional(Ms("it doubles up to this while probes fail; default 120000")),
  },
  { additionalProperties: false },
)

export type BreakerOptions = Static<typeof BreakerSchema>

export function toBreakerPlan(options: BreakerOptions): BreakerPlan {
  const openMs = options.openMs ?? 10_000
  return {
    failures: options.failures ?? 5,
    ratePercent: options.ratePercent ?? 0,
    windowMs: options.windowMs ?? 10_000,
    minRequests: options.minRequests ?? 20,
    openMs,
    maxOpenMs: Math.max(openMs, options.maxOpenMs ?? 120_000),
  }
}
