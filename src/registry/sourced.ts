/** Instances that nobody registered: of the configuration, and of the sources that it names. */
import { formatHostPort, type NormalizedConfig } from "../config/index.ts"
import type { Instance } from "../model/service.ts"
import type { RegistryInstance } from "../policy/index.ts"

/** What a source says of a service, and whether that is still so. */
export interface ServiceSource {
  readonly kind: string
  /** It cannot be asked now: what it said last stays. */
  readonly stale: boolean
  /** Why. */
  readonly fault: string | null
}

interface Sourced extends ServiceSource {
  /** By id. */
  readonly instances: Map<string, Instance>
}

/** What the sources say, by service. */
export class SourcedTable {
  readonly #services = new Map<string, Sourced>()

  /** All that a source says of a service now; verdicts and times of known instances stay. Null: there is no source any more. */
  take(
    service: string,
    given: { readonly kind: string; readonly instances: readonly RegistryInstance[] } | null,
    now: string,
  ): void {
    if (given === null) return void this.#services.delete(service)
    const instances = new Map<string, Instance>()
    for (const found of given.instances) {
      const instance = toInstance(service, found, now)
      const { status, registeredAt } = this.get(service, instance.id) ?? instance
      instances.set(instance.id, { ...instance, status, registeredAt })
    }
    this.#services.set(service, { kind: given.kind, stale: false, fault: null, instances })
  }

  /** A source fails: what it said last stays, and says so. */
  markStale(service: string, { kind, fault }: { readonly kind: string; readonly fault: string }): void {
    const instances = this.#services.get(service)?.instances ?? new Map()
    this.#services.set(service, { kind, stale: true, fault, instances })
  }

  source(service: string): ServiceSource | null {
    const { kind, stale, fault } = this.#services.get(service) ?? {}
    return kind === undefined || stale === undefined ? null : { kind, stale, fault: fault ?? null }
  }

  services(): Iterable<string> {
    return this.#services.keys()
  }

  of(service: string): Iterable<Instance> {
    return this.#services.get(service)?.instances.values() ?? []
  }

  get(service: string, id: string): Instance | undefined {
    return this.#services.get(service)?.instances.get(id)
  }

  /** Replaces one that is there. */
  set(instance: Instance): void {
    this.#services.get(instance.service)?.instances.set(instance.id, instance)
  }
}

/** An instance with what registered ones say besides. */
export function toInstance(
  service: string,
  entry: NormalizedConfig["services"][string][number] | RegistryInstance,
  now: string,
): Instance {
  const { id, host, port, weight = 1, zone = null, version = null } = entry
  return {
    id: id || formatHostPort(entry),
    service,
    host,
    port,
    protocol: "http",
    weight,
    zone,
    version,
    metadata: ("labels" in entry ? entry.labels : entry.metadata) ?? {},
    ttlSeconds: null,
    status: "unknown",
    load: null,
    registeredAt: now,
    lastHeartbeatAt: now,
  }
}
