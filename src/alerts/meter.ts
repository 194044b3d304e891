/** The value that an alert looks at: a sum over series, its rate, or a quantile of what came since the last look. */
import type { NormalizedAlert } from "../config/index.ts"
import type { Sample } from "../metrics/index.ts"

interface Look {
  readonly at: number
  readonly values: readonly number[]
}

export class Meter {
  readonly #alert: NormalizedAlert
  #before: Look | null = null

  constructor(alert: NormalizedAlert) {
    this.#alert = alert
  }

  /** Null: there is no such series yet, or no earlier look to compare with. */
  read(samples: readonly Sample[], now: number): number | null {
    const { metric, labels, perSecond, quantile } = this.#alert
    const wanted = Object.entries(labels)
    const matching = samples.filter(
      (sample) => sample.metric === metric && wanted.every(([label, value]) => sample.labels[label] === value),
    )
    const [first] = matching
    // A counter that has not counted yet counts from 0.
    if (first === undefined) {
      if (perSecond) this.#before = { at: now, values: [0] }
      return null
    }
    const width = first.values.length
    const values = Array.from({ length: width }, (_, at) =>
      matching.reduce((sum, row) => sum + (row.values[at] ?? 0), 0),
    )
    const before = this.#before
    this.#before = { at: now, values }
    if (quantile !== null)
      return before === null ? null : quantileOf(first.buckets ?? [], values, before.values, quantile)
    const value = values[0] ?? 0
    if (!perSecond) return value
    const seconds = before === null ? 0 : (now - before.at) / 1_000
    return before === null || seconds <= 0 ? null : Math.max(0, value - (before.values[0] ?? 0)) / seconds
  }
}

/** The bound of the bucket in which it lies; null where nothing came. */
function quantileOf(
  bounds: readonly number[],
  now: readonly number[],
  before: readonly number[],
  share: number,
): number | null {
  const counts = bounds.map((_, at) => (now[at] ?? 0) - (before[at] ?? 0))
  const total = (now[bounds.length] ?? 0) - (before[bounds.length] ?? 0)
  if (total <= 0) return null
  const at = counts.findIndex((count) => count >= share * total)
  return at === -1 ? Number.POSITIVE_INFINITY : (bounds[at] ?? null)
}
