/** One upstream with goals: its limit, what was changed, what is being tried. */
import type { NormalizedGoals, NormalizedOptimizer, NormalizedUpstream } from "../config/index.ts"
import type { Sample } from "../metrics/index.ts"
import type { OptimizerChange, OptimizerRow, UpstreamLook } from "../model/optimizer.ts"
import { type Decision, type Direction, decide, type Trial } from "./decide.ts"
import { Observer } from "./observe.ts"

/** Looks for which a direction rests after it was tried in vain. */
const REST = 10
/** Changes of an upstream that can be taken back, one after the other. */
const KEPT = 100

export class Tuned {
  readonly name: string
  readonly observer: Observer
  readonly #configured: number
  readonly #goals: NormalizedGoals
  /** What waits for somebody to apply it. */
  proposal: OptimizerChange | null = null
  /** Requests at the same time that are allowed now. */
  #limit: number
  /** What may be taken back, oldest first. */
  #applied: readonly OptimizerChange[] = []
  #trial: Trial | null = null
  #seen: UpstreamLook | null = null
  #verdict = "there was one look; the second one tells"
  #resting: Record<Direction, number> = { up: 0, down: 0 }

  constructor({ name, maxRequests, goals }: NormalizedUpstream) {
    this.name = name
    this.observer = new Observer(name)
    this.#configured = maxRequests
    this.#limit = maxRequests
    this.#goals = goals ?? { errorRate: null, p99Ms: null, load: 1, min: maxRequests, max: maxRequests }
  }

  get limit(): number {
    return this.#limit
  }

  /** The change that may be taken back. */
  get last(): OptimizerChange | null {
    return this.#applied.at(-1) ?? null
  }

  /** The configuration says the same of it as it did. */
  fits({ maxRequests, goals }: NormalizedUpstream): boolean {
    return maxRequests === this.#configured && JSON.stringify(goals) === JSON.stringify(this.#goals)
  }

  /** What the numbers since the last look come to; null: there is no earlier one. */
  look(samples: readonly Sample[], { minRequests, stepPercent }: NormalizedOptimizer): Decision | null {
    this.#seen = this.observer.look(samples)
    if (this.#seen === null) return null
    const situation = { goals: this.#goals, limit: this.limit, look: this.#seen, minRequests, stepPercent }
    const decision = decide({ ...situation, trial: this.#trial, resting: this.#resting })
    this.#verdict = decision.reason
    if (decision.kind !== "wait") {
      // Once judged, a change that is kept is no trial any more.
      if (decision.kind !== "undo") this.#trial = null
      this.#resting = { up: Math.max(0, this.#resting.up - 1), down: Math.max(0, this.#resting.down - 1) }
    }
    return decision
  }

  /** A change comes into force. Returns the way back, for one that could not be applied. */
  try(change: OptimizerChange): () => void {
    const before = { applied: this.#applied, trial: this.#trial }
    this.#applied = [...this.#applied, change].slice(-KEPT)
    this.#limit = change.to
    this.#trial = this.#seen === null ? null : { from: change.from, to: change.to, before: this.#seen }
    return () => {
      this.#applied = before.applied
      this.#trial = before.trial
      this.#limit = change.from
    }
  }

  /** The last change goes; its direction rests. */
  takeBack(): OptimizerChange {
    const change = this.last
    if (change === null) throw new Error("there is no change to take back")
    this.#limit = change.from
    this.#applied = this.#applied.slice(0, -1)
    this.#trial = null
    this.#resting[change.to > change.from ? "up" : "down"] = REST
    return change
  }

  row(): OptimizerRow {
    const { errorRate, p99Ms, load, min, max } = this.#goals
    return {
      upstream: this.name,
      goals: { errorRate, p99Ms, load },
      maxRequests: { configured: this.#configured, now: this.limit, min, max },
      seen: this.#seen,
      verdict: this.#verdict,
    }
  }
}
