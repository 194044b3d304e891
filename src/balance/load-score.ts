/**
 * loadScore: endpoints are weighted by the load they report. `load = active/max +
 * cpu/100 + memory/100`; health is 1 below the threshold and 0 from load 1 on. The
 * formula this comes from goes negative above its threshold, so it is clamped at 0.
 */
import Type from "typebox"
import type { Load } from "../model/service.ts"
import { options, strategy } from "./strategy.ts"

const DEFAULT_THRESHOLD = 0.8

export const loadScoreStrategy = strategy({
  name: "loadScore",
  options: options({
    threshold: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 3, description: "default 0.8" })),
  }),
  toPlan: ({ threshold = DEFAULT_THRESHOLD }) => ({ strategy: "loadScore", threshold }),
})

/** Health from a reported load, 0 to 1; 1 where nothing was reported. */
export function healthOfLoad(load: Load | null, threshold: number): number {
  if (load === null) return 1
  const total = (load.max > 0 ? load.active / load.max : 0) + load.cpu / 100 + load.memory / 100
  if (total < threshold) return 1
  if (total >= 1) return 0
  return Math.min(1, Math.max(0, (threshold - total) / threshold))
}
