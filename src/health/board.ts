/**
 * All active checks of a gateway: one timer per endpoint, started spread over the
 * interval so that a thousand endpoints are not asked at once. Tells when a verdict changes.
 */
import type { NormalizedHealth } from "../config/index.ts"
import type { Endpoint } from "../model/service.ts"
import type { HealthCheckDefinition } from "../policy/index.ts"
import type { Check } from "./check.ts"
import { coapCheck } from "./coap-check.ts"
import { commandCheck } from "./command-check.ts"
import { customCheck } from "./custom-check.ts"
import { grpcCheck } from "./grpc-check.ts"
import { httpCheck } from "./http-check.ts"
import { mqttCheck } from "./mqtt-check.ts"
import { tcpCheck } from "./tcp-check.ts"
import { type HealthState, type HealthStatus, judge, nextDelay, UNKNOWN } from "./verdict.ts"

/** An upstream that has checks, with what is checked. */
export interface CheckedUpstream {
  readonly name: string
  readonly health: NormalizedHealth
  readonly endpoints: readonly Endpoint[]
  /** The function of a custom check. */
  readonly custom: HealthCheckDefinition | null
}

export type HealthWatcher = (upstream: string, endpoint: string, status: HealthStatus) => void

interface Watch {
  readonly endpoint: Endpoint
  readonly health: NormalizedHealth
  custom: HealthCheckDefinition | null
  state: HealthState
  timer: NodeJS.Timeout | null
}

const CHECKS: Readonly<Record<NormalizedHealth["kind"], Check>> = {
  http: httpCheck,
  tcp: tcpCheck,
  grpc: grpcCheck,
  mqtt: mqttCheck,
  coap: coapCheck,
  command: commandCheck,
  custom: customCheck,
}

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
      if (next === undefined || !isSame(watch, next.endpoint, next.upstream.health)) {
        this.#stop(key, watch)
        continue
      }
      // A configuration that is read again has new functions of the same names.
      watch.custom = next.upstream.custom
      wanted.delete(key)
    }
    for (const { upstream, endpoint } of wanted.values()) this.#start(upstream, endpoint)
  }

  close(): void {
    for (const [key, watch] of this.#watches) this.#stop(key, watch)
  }

  #start(upstream: CheckedUpstream, endpoint: Endpoint): void {
    const { health, custom } = upstream
    const watch: Watch = { endpoint, health, custom, state: UNKNOWN, timer: null }
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
    const passed = await this.#checks[watch.health.kind](watch.endpoint, watch.health, watch.custom)
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
  if (host !== endpoint.host || port !== endpoint.port) return false
  return JSON.stringify(watch.health) === JSON.stringify(health)
}
