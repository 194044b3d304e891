/**
 * The registry of services: fixed instances of the configuration and registered ones,
 * which expire without heartbeats. Tells watchers after every change.
 */
import type { NormalizedConfig, NormalizedSubset } from "../config/index.ts"
import { TidegateError } from "../errors.ts"
import type { Endpoint, Instance, Load, ServiceSnapshot } from "../model/service.ts"
import type { RegistryInstance } from "../policy/index.ts"
import {
  type InstanceFilter,
  type InstancePatch,
  type Registration,
  type RegistryChange,
  register,
} from "./registration.ts"
import { nextSourced, type ServiceSource, type Sourced, toInstance } from "./sourced.ts"
import { InstanceStore, toLoad } from "./store.ts"
import { inSubset } from "./subset.ts"

export type ServiceWatcher = (service: string) => void

/** Instances of one process-wide registry; at most so many. */
const MAX_INSTANCES = 100_000

export class ServiceRegistry {
  readonly #store: InstanceStore
  readonly #instances = new Map<string, Instance>()
  readonly #watchers = new Set<ServiceWatcher>()
  readonly #sharers = new Set<(change: RegistryChange) => void>()
  readonly #now: () => number
  #fixed: readonly Instance[] = []
  readonly #sourced = new Map<string, Sourced>()

  constructor(file: string, now: () => number = Date.now) {
    this.#store = new InstanceStore(file)
    this.#now = now
    for (const instance of this.#store.all()) this.#instances.set(`${instance.service}/${instance.id}`, instance)
  }

  /** Takes over the fixed instances of a configuration. */
  useFixed(services: NormalizedConfig["services"]): void {
    const before = new Set(this.#fixed.map(({ service }) => service))
    const now = this.#time()
    this.#fixed = Object.entries(services).flatMap(([service, list]) =>
      list.map((entry) => toInstance(service, entry, now)),
    )
    for (const service of new Set([...before, ...Object.keys(services)])) this.#tell(service)
  }

  /** Takes over all that a source says of a service; null: there is no source any more. */
  useSourced(
    service: string,
    given: { readonly kind: string; readonly instances: readonly RegistryInstance[] } | null,
  ): void {
    if (given === null) this.#sourced.delete(service)
    else this.#sourced.set(service, nextSourced(this.#sourced.get(service), service, given, this.#time()))
    this.#tell(service)
  }

  /** A source fails: what it said last stays, and says so. */
  markStale(service: string, { kind, fault }: { readonly kind: string; readonly fault: string }): void {
    const instances = this.#sourced.get(service)?.instances ?? []
    this.#sourced.set(service, { kind, stale: true, fault, instances })
  }

  /** The source of a service; null where it has none. */
  source(service: string): ServiceSource | null {
    const { kind, stale, fault } = this.#sourced.get(service) ?? {}
    return kind === undefined || stale === undefined ? null : { kind, stale, fault: fault ?? null }
  }

  services(): string[] {
    return [...new Set([...this.#all().map(({ service }) => service), ...this.#sourced.keys()])].sort()
  }

  instances(service: string, { healthy, zone, version }: InstanceFilter = {}): Instance[] {
    return this.#all().filter((instance) => {
      if (instance.service !== service) return false
      if (healthy !== undefined && (instance.status === "healthy") !== healthy) return false
      return (zone === undefined || instance.zone === zone) && (version === undefined || instance.version === version)
    })
  }

  /** As endpoints of an upstream; draining ones stay so that they can finish. */
  endpoints(service: string, subset: NormalizedSubset | null = null): Endpoint[] {
    const meant = inSubset(this.instances(service), subset, ({ metadata, ...own }) => ({ ...own, labels: metadata }))
    return meant.map(({ id, host, port, weight, zone, status, load }) => {
      return { id, host, port, weight, zone, draining: status === "draining", load }
    })
  }

  snapshot(service: string): ServiceSnapshot {
    return { service, instances: this.instances(service) }
  }

  /** Registers or replaces; `created` says which. */
  put(service: string, id: string, given: Registration): { instance: Instance; created: boolean } {
    const key = `${service}/${id}`
    const before = this.#instances.get(key)
    if (before === undefined && this.#instances.size >= MAX_INSTANCES) {
      throw new TidegateError("SERVICE_INVALID", `the registry is full: ${MAX_INSTANCES} instances`)
    }
    const instance = register({ service, id, given, before: before ?? null, now: this.#time() })
    this.#change(instance)
    return { instance, created: before === undefined }
  }

  /** A sign of life, with the load where it is known. Throws SERVICE_UNKNOWN when it expired. */
  heartbeat(service: string, id: string, load?: Partial<Load>): Instance {
    const instance = this.#find(service, id)
    const status = instance.status === "unknown" ? "healthy" : instance.status
    return this.#change({
      ...instance,
      status,
      lastHeartbeatAt: this.#time(),
      load: load === undefined ? instance.load : toLoad(load),
    })
  }

  patch(service: string, id: string, changes: InstancePatch): Instance {
    const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined))
    return this.#change({ ...this.#find(service, id), ...given })
  }

  remove(service: string, id: string, at: number = this.#now()): void {
    this.#find(service, id)
    this.#forget(service, id)
    for (const share of this.#sharers) share({ service, id, instance: null, at })
  }

  /** Those that registered, here or at a gateway that shares them. */
  registered(): readonly Instance[] {
    return [...this.#instances.values()]
  }

  /** Takes over what another gateway was told; what checks found here stays. */
  takeShared(service: string, id: string, instance: Instance | null): void {
    if (instance === null) return this.#forget(service, id)
    const before = this.#instances.get(`${service}/${id}`)
    const isJudged = before?.status === "healthy" || before?.status === "unhealthy"
    const status = isJudged && instance.status !== "draining" ? before.status : instance.status
    this.#save({ ...instance, status })
  }

  /** Called after each change of a registered instance that was made here; returns the way out. */
  onRegistered(share: (change: RegistryChange) => void): () => void {
    this.#sharers.add(share)
    return () => this.#sharers.delete(share)
  }

  /** What health checks found; without effect on a draining instance. */
  judge(service: string, id: string, status: "healthy" | "unhealthy"): void {
    const isMeant = (instance: Instance): boolean => instance.service === service && instance.id === id
    const fixed = this.#fixed.find(isMeant)
    const sourced = this.#sourced.get(service)
    const found = sourced?.instances.find(isMeant)
    const known = fixed ?? found ?? this.#instances.get(`${service}/${id}`)
    if (known === undefined || known.status === status || known.status === "draining") return
    const next = { ...known, status }
    const replace = (list: readonly Instance[]) => list.map((instance) => (instance === known ? next : instance))
    if (fixed !== undefined) this.#fixed = replace(this.#fixed)
    else if (sourced !== undefined && found !== undefined)
      this.#sourced.set(service, { ...sourced, instances: replace(sourced.instances) })
    else return this.#save(next)
    this.#tell(service)
  }

  /** Forgets instances whose time without a heartbeat is up. Call it about once a second. */
  sweep(): void {
    const now = this.#now()
    for (const { service, id, ttlSeconds, lastHeartbeatAt } of [...this.#instances.values()]) {
      const end = ttlSeconds === null ? now : Date.parse(lastHeartbeatAt) + ttlSeconds * 1_000
      if (now > end) this.remove(service, id, end)
    }
  }

  /** Called with the service's name after each change; returns the way out. */
  watch(watcher: ServiceWatcher): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  close(): void {
    this.#watchers.clear()
    this.#sharers.clear()
    this.#store.close()
  }

  #all(): Instance[] {
    const sourced = [...this.#sourced.values()].flatMap(({ instances }) => instances)
    return [...this.#fixed, ...sourced, ...this.#instances.values()]
  }

  #find(service: string, id: string): Instance {
    const instance = this.#instances.get(`${service}/${id}`)
    if (instance !== undefined) return instance
    throw new TidegateError(
      "SERVICE_UNKNOWN",
      `service "${service}" has no registered instance "${id}"; it may have expired`,
    )
  }

  #change(instance: Instance): Instance {
    this.#save(instance)
    const { service, id } = instance
    for (const share of this.#sharers) share({ service, id, instance, at: this.#now() })
    return instance
  }

  #forget(service: string, id: string): void {
    this.#store.remove(service, id)
    if (this.#instances.delete(`${service}/${id}`)) this.#tell(service)
  }

  #save(instance: Instance): void {
    this.#store.put(instance)
    this.#instances.set(`${instance.service}/${instance.id}`, instance)
    this.#tell(instance.service)
  }

  #tell(service: string): void {
    for (const watcher of this.#watchers) watcher(service)
  }

  #time(): string {
    return new Date(this.#now()).toISOString()
  }
}
