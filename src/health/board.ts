/**
 * All active checks of a gateway: one timer per endpoint, started spread over the
 * interval so that a thousand endpoints are not asked at once. Tells when a verdict changes.
 */
import type { NormalizedHealth } from "../config/index.ts"
import type { Endpoint } from "../model/service.ts"
import type { Check } from "./check.ts"
import { httpCheck } from "./http-check.ts"
import { tcpCheck } from "./tcp-check.ts"
import { type HealthState, type HealthStatus, judge, nextDelay, UNKNOWN } from "./verdict.ts"

/** An upstream that has checks, with what is checked. */
export interface CheckedUpstream {
  readonly name: string
  readonly health: NormalizedHealth
  readonly endpoints: readonly Endpoint[]
}

export type HealthWatcher = (upstream: string, endpoint: string, status: HealthStatus) => void

interface Watch {
  readonly endpoint: Endpoint
  readonly health: NormalizedHealth
  state: HealthState
  timer: NodeJS.Timeout | null
}

const CHECKS: Readonly<Record<NormalizedHealth["kind"], Check>> = { http: httpCheck, tcp: tcpCheck }

export class HealthBoard {
  readonly #watches = new Map<string, Watch>()
  readonly #tell: HealthWatcher
  readonly #checks: Readonly<Record<NormalizedHealth["kind"], Check>>

  constructor(tell: HealthWatcher, checks = CHECKS) {
    this.#tell = tell
    this.#checks = checks
  }

  /** What is known of an endpoint; `unknown` counts as usable. */
  status(upstream: string, endpoint: string): HealthStatus {
    return this.#watches.get(keyOf(upstream, endpoint))?.state.status ?? "unknown"
  }

  /** Takes over what is to be checked; verdicts of endpoints that stay are kept. */
  use(upstreams: readonly CheckedUpstream[]): void {
    const wanted = new Map<string, { upstream: CheckedUpstream; endpoint: Endpoint }>()
    for (const upstream of upstreams) {
      for (const endpoint of upstream.endpoints) wanted.set(keyOf(upstream.name, endpoint.id), { upstream, endpoint })
    }
    for (const [key, watch] of this.#watches) {
      const next = wanted.get(key)
      if (next !== undefined && isSame(watch, next.endpoint, next.upstream.health)) wanted.delete(key)
      else this.#stop(key, watch)
    }
    for (const { upstream, endpoint } of wanted.values()) this.#start(upstream, endpoint)
  }

  close(): void {
    for (const [key, watch] of this.#watches) this.#stop(key, watch)
  }

  #start(upstream: CheckedUpstream, endpoint: Endpoint): void {
    const watch: Watch = { endpoint, health: upstream.health, state: UNKNOWN, timer: null }
    this.#watches.set(keyOf(upstream.name, endpoint.id), watch)
    const spread = Math.min(500, upstream.health.intervalMs / 2)
    this.#schedule(upstream.name, watch, Math.random() * spread)
  }

  #stop(key: string, watch: Watch): void {
    if (watch.timer !== null) clearTimeout(watch.timer)
    this.#watches.delete(key)
  }

  #schedule(upstream: string, watch: Watch, delayMs: number): void {
    watch.timer = setTimeout(() => void this.#check(upstream, watch), delayMs)
    watch.timer.unref()
  }

  async #check(upstream: string, watch: Watch): Promise<void> {
    const passed = await this.#checks[watch.health.kind](watch.endpoint, watch.health)
    const { id } = watch.endpoint
    if (this.#watches.get(keyOf(upstream, id)) !== watch) return
    const before = watch.state.status
    watch.state = judge(watch.state, passed, watch.health)
    if (watch.state.status !== before) this.#tell(upstream, id, watch.state.status)
    this.#schedule(upstream, watch, nextDelay(watch.state, watch.health.intervalMs))
  }
}

function keyOf(upstream: string, endpoint: string): string {
  return `${upstream}\n${endpoint}`
}

function isSame(watch: Watch, endpoint: Endpoint, health: NormalizedHealth): boolean {
  const { host, port } = watch.endpoint
  return host === endpoint.host && port === endpoint.port && JSON.stringify(watch.health) === JSON.stringify(health)
}
