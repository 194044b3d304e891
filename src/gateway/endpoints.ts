/**
 * The endpoints of every upstream and what is left of their weight: fixed or from the
 * registry, judged by checks and by the load they report.
 */
import { healthOfLoad } from "../balance/index.ts"
import type { LoadedConfig, NormalizedConfig, NormalizedUpstream } from "../config/index.ts"
import { HealthBoard, type HealthStatus } from "../health/index.ts"
import type { Endpoint } from "../model/service.ts"
import type { EndpointWeight } from "../native/index.ts"
import { inSubset, Paced, type ServiceRegistry } from "../registry/index.ts"
import type { EndpointSource } from "./applier.ts"
import { Warmth } from "./warmth.ts"

/** What a change means: other endpoints need another plan, other weights only a small call. */
export type EndpointChange = "endpoints" | "weights"

export class Endpoints implements EndpointSource {
  readonly #registry: ServiceRegistry
  readonly #board: HealthBoard
  readonly #changed: (change: EndpointChange) => void
  #config: NormalizedConfig | null = null
  readonly #warmth: Warmth
  #shape = new Map<string, string>()
  /** Services that changed since they were looked at. */
  readonly #moved = new Set<string>()
  readonly #look = new Paced(() => this.#lookAtMoved())

  constructor(registry: ServiceRegistry, changed: (change: EndpointChange) => void) {
    this.#registry = registry
    this.#changed = changed
    this.#warmth = new Warmth(() => changed("weights"))
    this.#board = new HealthBoard((upstream, endpoint, status) => this.#judged(upstream, endpoint, status))
    registry.watch((service) => {
      this.#moved.add(service)
      this.#look.call()
    })
  }

  /** Takes over a configuration that is about to be applied. */
  use({ config, functions }: LoadedConfig): void {
    this.#config = config
    for (const upstream of config.upstreams) this.#warmth.meet(upstream, this.endpoints(upstream))
    this.#shape = new Map(config.upstreams.map((upstream) => [upstream.name, shapeOf(this.endpoints(upstream))]))
    const checked = config.upstreams.flatMap((upstream) => {
      const { name, health } = upstream
      if (health === null) return []
      const custom = functions.healthChecks.get(health.custom ?? "") ?? null
      return [{ name, health, custom, endpoints: this.endpoints(upstream) }]
    })
    this.#board.use(checked)
  }

  endpoints(upstream: NormalizedUpstream): readonly Endpoint[] {
    const { service, subset } = upstream
    if (service !== null) return this.#registry.endpoints(service, subset)
    const meant = inSubset(upstream.endpoints, subset, (endpoint) => ({ ...endpoint, version: null }))
    return meant.map(({ id, host, port, weight, zone }) => {
      return { id, host, port, weight, zone, draining: false, load: null }
    })
  }

  health(upstream: NormalizedUpstream, endpoint: Endpoint): number {
    const id = endpoint.id.replace(/#\d+$/, "")
    if (this.status(upstream, id) === "unhealthy") return 0
    const { balance } = upstream
    const health = balance.strategy === "loadScore" ? healthOfLoad(endpoint.load, balance.threshold) : 1
    return health * this.#warmth.share(upstream, id)
  }

  /** The verdict of the checks, or of the registry where there are none. */
  status(upstream: NormalizedUpstream, id: string): HealthStatus {
    if (upstream.health !== null) return this.#board.status(upstream.name, id)
    if (upstream.service === null) return "unknown"
    const status = this.#registry.instance(upstream.service, id)?.status
    return status === "healthy" || status === "unhealthy" ? status : "unknown"
  }

  /** Every endpoint's present weight, for native. `known` are the endpoints of the applied plan. */
  weights(
    known: readonly { readonly name: string; readonly endpoints: readonly { readonly id: string }[] }[],
  ): EndpointWeight[] {
    return known.flatMap(({ name, endpoints }) => {
      const upstream = this.#config?.upstreams.find((other) => other.name === name)
      if (upstream === undefined) return []
      const present = new Map(this.endpoints(upstream).map((endpoint) => [endpoint.id, endpoint]))
      return endpoints.flatMap(({ id }) => {
        const endpoint = present.get(id.replace(/#\d+$/, ""))
        if (endpoint === undefined) return []
        const health = endpoint.weight === 0 ? 0 : this.health(upstream, endpoint)
        return [{ upstream: name, endpoint: id, health, draining: endpoint.draining }]
      })
    })
  }

  close(): void {
    this.#look.close()
    this.#warmth.close()
    this.#board.close()
  }

  #judged(name: string, endpoint: string, status: HealthStatus): void {
    const upstream = this.#config?.upstreams.find((other) => other.name === name)
    const service = upstream?.service ?? null
    if (upstream !== undefined) this.#warmth.judged(upstream, endpoint, status)
    if (service !== null && status !== "unknown") this.#registry.judge(service, endpoint, status)
    this.#changed("weights")
  }

  #lookAtMoved(): void {
    const upstreams = (this.#config?.upstreams ?? []).filter(
      ({ service }) => service !== null && this.#moved.has(service),
    )
    this.#moved.clear()
    if (upstreams.length === 0) return
    const moved = upstreams.some((upstream) => this.#shape.get(upstream.name) !== shapeOf(this.endpoints(upstream)))
    this.#changed(moved ? "endpoints" : "weights")
  }
}

/** What of the endpoints stands in the plan and not in their weights. */
function shapeOf(endpoints: readonly Endpoint[]): string {
  return JSON.stringify(endpoints.map(({ id, host, port, weight }) => [id, host, port, weight]))
}
