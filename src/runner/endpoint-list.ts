/** The endpoints that balancers pick from: asked of native at most every 10 ms, whatever the number of picks. */
import type { BalancedEndpoint } from "../policy/index.ts"

const FRESH_MS = 10

interface Listed extends BalancedEndpoint {
  readonly draining: boolean
  readonly ejectedUntil: number | null
}

interface Upstream {
  readonly name: string
  readonly endpoints: readonly Listed[]
}

export class EndpointList {
  #at = Number.NEGATIVE_INFINITY
  #byUpstream = new Map<string, readonly BalancedEndpoint[]>()

  /** Those of an upstream that may take a request. `ask` gives native's list as JSON. */
  of(upstream: string, ask: () => string, now = performance.now()): readonly BalancedEndpoint[] {
    if (now - this.#at > FRESH_MS) {
      this.#at = now
      this.#byUpstream = new Map(
        (JSON.parse(ask()) as Upstream[]).map(({ name, endpoints }) => [name, usable(endpoints)]),
      )
    }
    return this.#byUpstream.get(upstream) ?? []
  }
}

function usable(endpoints: readonly Listed[]): readonly BalancedEndpoint[] {
  return endpoints
    .filter(({ draining, ejectedUntil, health, weight }) => !draining && ejectedUntil === null && health * weight > 0)
    .map(({ id, address, weight, health, active }) => ({ id, address, weight, health, active }))
}
