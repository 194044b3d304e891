/** outlier: endpoints that fail too often in a row are left out for a while (numbers as in Envoy). */
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
  }
}
