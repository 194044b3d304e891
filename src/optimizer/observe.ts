/** What the metrics say of an upstream between two looks. */
import type { Sample } from "../metrics/index.ts"
import type { UpstreamLook } from "../model/optimizer.ts"

/** Totals since the start, and the requests under way at the moment. */
interface Totals {
  readonly answers: number
  readonly errors: number
  readonly turnedAway: number
  readonly inFlight: number
  readonly bounds: readonly number[]
  /** Cumulative counts of the bounds, the infinite one, the sum and the count. */
  readonly durations: readonly number[]
}

/** Adds up what came since the last look of one upstream. */
export class Observer {
  readonly #upstream: string
  #before: Totals | null = null
  #inFlight: number[] = []

  constructor(upstream: string) {
    this.#upstream = upstream
  }

  /** Between two looks: how many requests are under way. */
  glance(samples: readonly Sample[]): void {
    this.#inFlight.push(inFlightOf(samples, this.#upstream))
  }

  /** Null: there is no earlier look to compare with. */
  look(samples: readonly Sample[]): UpstreamLook | null {
    this.glance(samples)
    const now = totalsOf(samples, this.#upstream)
    const inFlight = this.#inFlight.reduce((sum, value) => sum + value, 0) / this.#inFlight.length
    const before = this.#before
    this.#before = now
    this.#inFlight = []
    if (before === null) return null
    const requests = Math.max(0, now.answers - before.answers)
    const errors = Math.max(0, now.errors - before.errors)
    return {
      requests,
      errorRate: requests === 0 ? 0 : Math.min(1, errors / requests),
      p99Ms: quantileMs(now, before, 0.99),
      inFlight,
      turnedAway: Math.max(0, now.turnedAway - before.turnedAway),
    }
  }
}

function inFlightOf(samples: readonly Sample[], upstream: string): number {
  return sum(samples, "tidegate_upstream_connections", ({ labels }) => {
    return labels.upstream === upstream && labels.state === "active"
  })
}

function totalsOf(all: readonly Sample[], upstream: string): Totals {
  const samples = all.filter(({ labels }) => labels.upstream === upstream)
  // A try without an answer is a request like any other, and an error.
  const failures = sum(samples, "tidegate_upstream_failures_total", () => true)
  // One that broke off is among the failures: its code does not count once more.
  const whole = (matches: (code: string) => boolean): number => {
    const counted = (metric: string): number => sum(samples, metric, ({ labels: { code = "" } }) => matches(code))
    return counted("tidegate_upstream_requests_total") - counted("tidegate_upstream_broken_answers_total")
  }
  const histograms = samples.filter(({ metric }) => metric === "tidegate_upstream_request_duration_seconds")
  const width = histograms[0]?.values.length ?? 0
  return {
    answers: whole(() => true) + failures,
    errors: whole((code) => code.startsWith("5")) + failures,
    turnedAway: sum(samples, "tidegate_upstream_overflow_total", ({ labels }) => labels.reason === "requests"),
    inFlight: inFlightOf(samples, upstream),
    bounds: histograms[0]?.buckets ?? [],
    durations: Array.from({ length: width }, (_, at) =>
      histograms.reduce((total, { values }) => total + (values[at] ?? 0), 0),
    ),
  }
}

function sum(samples: readonly Sample[], metric: string, matches: (sample: Sample) => boolean): number {
  return samples
    .filter((sample) => sample.metric === metric && matches(sample))
    .reduce((total, { values }) => total + (values[0] ?? 0), 0)
}

/** As `histogram_quantile` of Prometheus has it: linear within a bucket; beyond the last bound it is that bound. */
function quantileMs({ bounds, durations }: Totals, before: Totals, share: number): number | null {
  const counts = durations.map((value, at) => value - (before.durations[at] ?? 0))
  const total = counts[bounds.length] ?? 0
  if (total <= 0) return null
  const rank = share * total
  const at = bounds.findIndex((_, index) => (counts[index] ?? 0) >= rank)
  if (at === -1) return (bounds.at(-1) ?? 0) * 1_000
  const [from, below] = at === 0 ? [0, 0] : [bounds[at - 1] ?? 0, counts[at - 1] ?? 0]
  const within = (rank - below) / ((counts[at] ?? 0) - below)
  return (from + ((bounds[at] ?? 0) - from) * within) * 1_000
}
