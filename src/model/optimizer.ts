/** What the optimizer sees, changes and tells. Types only. */

/** One upstream since the look before. */
export interface UpstreamLook {
  readonly requests: number
  /** Share of answers of 500 and above, and of tries that got none. */
  readonly errorRate: number
  /** From sending to the response head; null where nothing was answered. */
  readonly p99Ms: number | null
  /** Requests at the same time, on average. */
  readonly inFlight: number
  /** Requests turned away because `maxRequests` were under way. */
  readonly turnedAway: number
}

/**
 * `proposed`: waits for somebody; `applied`: in force, or was until a later one; `undone`: taken
 * back; `dropped`: a proposal that no longer fits what is seen or configured.
 */
export type ChangeState = "proposed" | "applied" | "undone" | "dropped"

/** One change of an upstream's `maxRequests`. */
export interface OptimizerChange {
  readonly id: number
  /** Milliseconds since 1970, of the last change of its state. */
  readonly at: number
  readonly upstream: string
  readonly from: number
  readonly to: number
  readonly reason: string
  readonly state: ChangeState
}

/** An upstream with goals. */
export interface OptimizerRow {
  readonly upstream: string
  readonly goals: { readonly errorRate: number | null; readonly p99Ms: number | null; readonly load: number }
  /** As configured, as it is now, and its bounds. */
  readonly maxRequests: {
    readonly configured: number
    readonly now: number
    readonly min: number
    readonly max: number
  }
  /** Null before the second look. */
  readonly seen: UpstreamLook | null
  /** What the last look came to, in a sentence. */
  readonly verdict: string
}

export interface OptimizerReport {
  readonly mode: "propose" | "apply"
  readonly upstreams: readonly OptimizerRow[]
  /** Changes since the start, by what became of them. */
  readonly made: Readonly<Record<ChangeState, number>>
  /** Newest last; older ones are forgotten. */
  readonly changes: readonly OptimizerChange[]
}
