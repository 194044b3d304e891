/** `goals` and `optimizer`, normalized. */
import type { OPTIMIZER } from "./schema/numbers.ts"

/** One of errorRate and p99Ms is a number. */
export interface NormalizedGoals {
  readonly errorRate: number | null
  readonly p99Ms: number | null
  readonly load: number
  /** Bounds of `maxRequests`. */
  readonly min: number
  readonly max: number
}

export interface NormalizedOptimizer extends Readonly<Record<keyof typeof OPTIMIZER, number>> {
  readonly mode: "propose" | "apply"
}
