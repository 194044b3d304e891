/**
 * Keeps the registered instances of several gateways in step by a store that they share. Each goes on by
 * itself while the store is away, and tells it then what has changed; of two states of an instance the newer stays.
 */
import type { NormalizedRegistry } from "../config/index.ts"
import type { Instance } from "../model/service.ts"
import { follow, pause } from "../remote/index.ts"
import { openNatsPeer } from "./peers/nats.ts"
import type { OpenPeer, PeerEntry, PeerSession } from "./peers/peer.ts"
import { openPostgresPeer } from "./peers/postgres.ts"
import type { RegistryChange } from "./registration.ts"
import type { ServiceRegistry } from "./services.ts"

const PEERS: Readonly<Record<NormalizedRegistry["kind"], OpenPeer>> = { postgres: openPostgresPeer, nats: openNatsPeer }

/** Changes are gathered for so long before they are written together. */
const GATHER_MS = 50
/** What is gone is remembered for so long, so that nobody brings it back. */
const REMEMBER_MS = 3_600_000
const LONGEST_WAIT_MS = 5_000
/** Twice as many as the registry holds instances. */
const MAX_STAMPS = 200_000

export class SharedRegistry {
  readonly #registry: ServiceRegistry
  readonly #complain: (text: string) => void
  readonly #unwatch: () => void
  /** When each instance changed last, as far as is known here. */
  readonly #stamps = new Map<string, number>()
  /** Written to the store at the next occasion; at most one for each instance. */
  readonly #pending = new Map<string, PeerEntry>()
  #ended = new AbortController()
  #session: PeerSession | null = null
  #following = ""
  #isFlushing = false

  constructor(registry: ServiceRegistry, complain: (text: string) => void) {
    this.#registry = registry
    this.#complain = complain
    this.#unwatch = registry.onRegistered((change) => this.#note(change))
  }

  /** Takes over the store of a configuration; null: none. */
  use(config: NormalizedRegistry | null): void {
    const next = JSON.stringify(config)
    if (next === this.#following) return
    this.#following = next
    this.#ended.abort()
    this.#ended = new AbortController()
    if (config === null) return
    const { signal } = this.#ended
    void follow<readonly PeerEntry[]>({
      open: () => this.#open(config, signal),
      take: (entries) => this.#take(entries),
      failed: (fault) => {
        this.#session = null
        this.#complain(`registry: ${config.kind} failed, this gateway goes on by itself: ${fault}`)
      },
      intervalMs: LONGEST_WAIT_MS,
      signal,
    })
  }

  close(): void {
    this.#ended.abort()
    this.#unwatch()
  }

  async *#open(config: NormalizedRegistry, signal: AbortSignal): AsyncGenerator<readonly PeerEntry[]> {
    const session = await PEERS[config.kind](config, signal)
    try {
      const entries = await session.all()
      yield entries
      this.#offer(new Map(entries.map((entry) => [entry.key, entry.at])))
      this.#session = session
      await session.forget(Date.now() - REMEMBER_MS)
      void this.#flush()
      yield* session.changes()
    } finally {
      this.#session = null
      await session.close()
    }
  }

  /** What is newer here than there, for example because it changed while the store was away. */
  #offer(there: ReadonlyMap<string, number>): void {
    for (const instance of this.#registry.registered()) {
      const key = `${instance.service}/${instance.id}`
      const at = this.#stamps.get(key) ?? Date.parse(instance.lastHeartbeatAt)
      if (at > (there.get(key) ?? 0)) this.#pending.set(key, { key, at, document: JSON.stringify(instance) })
    }
  }

  #note({ service, id, instance, at }: RegistryChange): void {
    if (this.#following === "" || this.#following === "null") return
    const key = `${service}/${id}`
    const stamp = Math.max(at, (this.#stamps.get(key) ?? 0) + 1)
    if (this.#stamps.size > MAX_STAMPS) this.#forgetStamps(at - REMEMBER_MS)
    this.#stamps.set(key, stamp)
    this.#pending.set(key, { key, at: stamp, document: instance === null ? null : JSON.stringify(instance) })
    void this.#flush()
  }

  /** Of what is gone for long. */
  #forgetStamps(before: number): void {
    for (const [key, at] of this.#stamps) if (at < before) this.#stamps.delete(key)
  }

  #take(entries: readonly PeerEntry[]): void {
    for (const { key, at, document } of entries) {
      if (at <= (this.#stamps.get(key) ?? 0)) continue
      this.#stamps.set(key, at)
      this.#pending.delete(key)
      const [service = "", id = ""] = key.split("/")
      this.#registry.takeShared(service, id, document === null ? null : (JSON.parse(document) as Instance))
    }
  }

  async #flush(): Promise<void> {
    if (this.#isFlushing) return
    this.#isFlushing = true
    await pause(GATHER_MS, this.#ended.signal)
    const [session, entries] = [this.#session, [...this.#pending.values()]]
    if (session !== null && entries.length > 0) {
      try {
        await session.write(entries)
        for (const entry of entries) if (this.#pending.get(entry.key) === entry) this.#pending.delete(entry.key)
      } catch (error) {
        // The connection is told lost on its own; what is pending goes with the next one.
        this.#complain(`registry: a change is not shared yet: ${String(error)}`)
      }
    }
    this.#isFlushing = false
    if (this.#session === session && session !== null && this.#pending.size > 0) void this.#flush()
  }
}
