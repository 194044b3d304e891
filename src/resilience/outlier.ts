/** outlier: endpoints that fail too often in a row, or far more often than the others, are left out for a while (numbers as in Envoy). */
import Type, { type Static } from "typebox"
import type { OutlierPlan } from "../native/index.ts"
import { Ms, Percent } from "./step.ts"

export const OutlierSchema = Type.Object(
  {
    consecutive5xx: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, description: "default 5" })),
    intervalMs: Type.Optional(Ms("between sweeps; default 10000")),
    baseEjectionMs: Type.Optional(Ms("times the number of ejections; default 30000")),
    maxEjectionMs: Type.Optional(Ms("default 300000")),
    maxEjectedPercent: Type.Optional(Percent("of the endpoints, but at least one; default 10")),
    successRateMinHosts: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 10_000,
        description: "endpoints with enough requests before their success rates are compared; default 5, 0: never",
      }),
    ),
    successRateMinRequests: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_000_000, description: "enough requests between two sweeps; default 100" }),
    ),
    successRateStdevFactor: Type.Optional(
      Type.Number({
        minimum: 0.1,
        maximum: 100,
        description: "below the mean by so many standard deviations; default 1.9",
      }),
    ),
  },
  { additionalProperties: false },
)

export function toOutlierPlan(options: Static<typeof OutlierSchema>): OutlierPlan {
  return {
    consecutive5xx: options.consecutive5xx ?? 5,
    intervalMs: options.intervalMs ?? 10_000,
    baseEjectionMs: options.baseEjectionMs ?? 30_000,
    maxEjectionMs: options.maxEjectionMs ?? 300_000,
    maxEjectedPercent: options.maxEjectedPercent ?? 10,
    successRateMinHosts: options.successRateMinHosts ?? 5,
    successRateMinRequests: options.successRateMinRequests ?? 100,
    successRateStdevFactor: Math.round((options.successRateStdevFactor ?? 1.9) * 1_000),
  }
}
