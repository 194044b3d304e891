/**
 * The registry of services: fixed instances of the configuration and registered ones,
 * which expire without heartbeats. Tells watchers after every change.
 */
import type { NormalizedConfig, NormalizedSubset } from "../config/index.ts"
import { TidegateError } from "../errors.ts"
import type { Endpoint, Instance, Load, ServiceSnapshot } from "../model/service.ts"
import type { RegistryInstance } from "../policy/index.ts"
import { SnapshotFeeds, type SnapshotListener } from "./feed.ts"
import {
  type InstanceFilter,
  type InstancePatch,
  type Registration,
  type RegistryChange,
  register,
} from "./registration.ts"
import { type ServiceSource, SourcedTable, toInstance } from "./sourced.ts"
import { InstanceStore, toLoad } from "./store.ts"
import { inSubset } from "./subset.ts"
import { InstanceTable } from "./table.ts"

export type ServiceWatcher = (service: string) => void

/** Instances of one process-wide registry; at most so many. */
const MAX_INSTANCES = 100_000

export class ServiceRegistry {
  readonly #store: InstanceStore
  readonly #instances = new InstanceTable()
  readonly #watchers = new Set<ServiceWatcher>()
  readonly #sharers = new Set<(change: RegistryChange) => void>()
  readonly #now: () => number
  #fixed = new InstanceTable()
  readonly #sourced = new SourcedTable()
  readonly #feeds = new SnapshotFeeds((service) => this.snapshot(service))

  constructor(file: string, now: () => number = Date.now) {
    this.#store = new InstanceStore(file)
    this.#now = now
    for (const instance of this.#store.all()) this.#instances.set(instance)
  }

  /** Takes over the fixed instances of a configuration. */
  useFixed(services: NormalizedConfig["services"]): void {
    const now = this.#time()
    const before = this.#fixed
    this.#fixed = new InstanceTable()
    for (const [service, list] of Object.entries(services)) {
      for (const entry of list) this.#fixed.set(toInstance(service, entry, now))
    }
    for (const service of new Set([...before.services(), ...this.#fixed.services()])) this.#tell(service)
  }

  /** Takes over all that a source says of a service; null: there is no source any more. */
  useSourced(
    service: string,
    given: { readonly kind: string; readonly instances: readonly RegistryInstance[] } | null,
  ): void {
    this.#sourced.take(service, given, this.#time())
    this.#tell(service)
  }

  /** A source fails: what it said last stays, and says so. */
  markStale(service: string, why: { readonly kind: string; readonly fault: string }): void {
    this.#sourced.markStale(service, why)
  }

  /** The source of a service; null where it has none. */
  source(service: string): ServiceSource | null {
    return this.#sourced.source(service)
  }

  services(): string[] {
    return [...new Set([...this.#fixed.services(), ...this.#instances.services(), ...this.#sourced.services()])].sort()
  }

  instances(service: string, { healthy, zone, version }: InstanceFilter = {}): Instance[] {
    const all = [...this.#fixed.of(service), ...this.#sourced.of(service), ...this.#instances.of(service)]
    if (healthy === undefined && zone === undefined && version === undefined) return all
    return all.filter((instance) => {
      if (healthy !== undefined && (instance.status === "healthy") !== healthy) return false
      return (zone === undefined || instance.zone === zone) && (version === undefined || instance.version === version)
    })
  }

  /** Fixed, of a source, or registered. */
  instance(service: string, id: string): Instance | undefined {
    return this.#fixed.get(service, id) ?? this.#sourced.get(service, id) ?? this.#instances.get(service, id)
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
    const before = this.#instances.get(service, id)
    if (before === undefined && this.#instances.size >= MAX_INSTANCES) {
      throw new TidegateError("SERVICE_INVALID", `the registry is full: ${MAX_INSTANCES} instances`)
    }
    const instance = register({ service, id, given, before: before ?? null, now: this.#time() })
    this.#change(instance)
    return { instance, created: before === undefined }
  }

  /** A sign of life, with the load where it is known. Throws SERVICE_UNKNOWN when it expired. */
  heartbeat(service: string, id: string, load?: Partial<Load>): Instance {
    const before = this.#find(service, id)
    const status = before.status === "unknown" ? "healthy" : before.status
    const lastHeartbeatAt = this.#time()
    const next = { ...before, status, lastHeartbeatAt, load: load === undefined ? before.load : toLoad(load) }
    // That it lives is no news: watchers hear of what changed.
    return this.#change(next, status !== before.status || load !== undefined)
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
    return [...this.#instances]
  }

  /** Takes over what another gateway was told; what checks found here stays. */
  takeShared(service: string, id: string, instance: Instance | null): void {
    if (instance === null) return this.#forget(service, id)
    const before = this.#instances.get(service, id)
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
    const known = this.instance(service, id)
    if (known === undefined || known.status === status || known.status === "draining") return
    const next = { ...known, status }
    if (this.#fixed.get(service, id) !== undefined) this.#fixed.set(next)
    else if (this.#sourced.get(service, id) !== undefined) this.#sourced.set(next)
    else return this.#save(next)
    this.#tell(service)
  }

  /** Forgets instances whose time without a heartbeat is up. Call it about once a second. */
  sweep(): void {
    const now = this.#now()
    for (const { service, id, ttlSeconds, lastHeartbeatAt } of [...this.#instances]) {
      const end = ttlSeconds === null ? now : Date.parse(lastHeartbeatAt) + ttlSeconds * 1_000
      if (now > end) this.remove(service, id, end)
    }
  }

  /** Snapshots of a service after changes, as few as the cost of them asks for; returns the way out. */
  follow(service: string, listener: SnapshotListener): () => void {
    return this.#feeds.follow(service, listener)
  }

  /** Called with the service's name after each change; returns the way out. */
  watch(watcher: ServiceWatcher): () => void {
    this.#watchers.add(watcher)
    return () => this.#watchers.delete(watcher)
  }

  close(): void {
    this.#watchers.clear()
    this.#sharers.clear()
    this.#feeds.close()
    this.#store.close()
  }

  #find(service: string, id: string): Instance {
    const instance = this.#instances.get(service, id)
    if (instance !== undefined) return instance
    throw new TidegateError(
      "SERVICE_UNKNOWN",
      `service "${service}" has no registered instance "${id}"; it may have expired`,
    )
  }

  #change(instance: Instance, isNews = true): Instance {
    this.#save(instance, isNews)
    const { service, id } = instance
    for (const share of this.#sharers) share({ service, id, instance, at: this.#now() })
    return instance
  }

  #forget(service: string, id: string): void {
    this.#store.remove(service, id)
    if (this.#instances.delete(service, id)) this.#tell(service)
  }

  #save(instance: Instance, isNews = true): void {
    this.#store.put(instance)
    this.#instances.set(instance)
    if (isNews) this.#tell(instance.service)
  }

  #tell(service: string): void {
    for (const watcher of this.#watchers) watcher(service)
    this.#feeds.changed(service)
  }

  #time(): string {
    return new Date(this.#now()).toISOString()
  }
}
