/**
 * Slow start: an endpoint that is new or has recovered gets its weight over a while,
 * `max(10 %, t/window)`, so that its caches and its runtime have time to warm up.
 */
import type { NormalizedUpstream } from "../config/index.ts"
import type { HealthStatus } from "../health/index.ts"
import type { Endpoint } from "../model/service.ts"

const LEAST = 0.1
/** Between two steps of the weights that grow. */
const STEP_MS = 200

export class Warmth {
  readonly #changed: () => void
  readonly #now: () => number
  /** By upstream: the endpoints that were there before, and since when those that grow do. */
  readonly #known = new Map<string, Set<string>>()
  readonly #since = new Map<string, number>()
  readonly #ill = new Set<string>()
  #timer: NodeJS.Timeout | null = null

  constructor(changed: () => void, now: () => number = () => performance.now()) {
    this.#changed = changed
    this.#now = now
  }

  /** The endpoints an upstream has now. Those of its first look are warm: all would be as cold. */
  meet({ name, slowStartMs }: NormalizedUpstream, endpoints: readonly Endpoint[]): void {
    const before = this.#known.get(name)
    this.#known.set(name, new Set(endpoints.map(({ id }) => id)))
    if (slowStartMs === 0 || before === undefined || before.size === 0) return
    for (const { id } of endpoints) if (!before.has(id)) this.#begin(name, id)
  }

  /** What a check has found: one that was ill and is well again begins anew. */
  judged({ name, slowStartMs }: NormalizedUpstream, id: string, status: HealthStatus): void {
    const key = keyOf(name, id)
    if (status === "unhealthy") this.#ill.add(key)
    else if (this.#ill.delete(key) && slowStartMs > 0) this.#begin(name, id)
  }

  /** What of its weight an endpoint has by now, 0.1 to 1. */
  share({ name, slowStartMs }: NormalizedUpstream, id: string): number {
    const since = this.#since.get(keyOf(name, id))
    if (since === undefined) return 1
    const passed = this.#now() - since
    if (passed < slowStartMs) return Math.max(LEAST, passed / slowStartMs)
    this.#since.delete(keyOf(name, id))
    return 1
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  #begin(name: string, id: string): void {
    this.#since.set(keyOf(name, id), this.#now())
    this.#timer ??= setInterval(() => this.#step(), STEP_MS).unref()
  }

  #step(): void {
    this.#changed()
    if (this.#since.size === 0) this.close()
  }
}

function keyOf(upstream: string, endpoint: string): string {
  return `${upstream}\n${endpoint}`
}
