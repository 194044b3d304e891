/** adaptive: how many requests an upstream takes at once, learnt from its latency (Netflix's Gradient2). */
import Type, { type Static } from "typebox"
import type { AdaptivePlan } from "../native/index.ts"

const Limit = (description: string) => Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000_000, description }))

export const AdaptiveSchema = Type.Union([
  Type.Boolean(),
  Type.Object(
    {
      initial: Limit("default 20"),
      min: Limit("default 20"),
      max: Limit("default 200; never above maxRequests"),
      tolerance: Type.Optional(
        Type.Number({ minimum: 1, maximum: 10, description: "how much longer is no sign of a queue; default 1.5" }),
      ),
      smoothing: Type.Optional(
        Type.Number({ exclusiveMinimum: 0, maximum: 1, description: "weight of a new estimate; default 0.2" }),
      ),
    },
    { additionalProperties: false },
  ),
])

export type AdaptiveOptions = Static<typeof AdaptiveSchema>

export function toAdaptivePlan(options: AdaptiveOptions | undefined): AdaptivePlan | null {
  if (options === undefined || options === false) return null
  const { initial, min, max, tolerance = 1.5, smoothing = 0.2 } = options === true ? {} : options
  const least = min ?? Math.min(20, initial ?? 20, max ?? 20)
  const most = Math.max(max ?? 200, least)
  return { initial: Math.min(Math.max(initial ?? 20, least), most), min: least, max: most, tolerance, smoothing }
}
