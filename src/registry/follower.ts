/**
 * Follows the sources of a configuration and keeps the registry at what they say. One that
 * fails keeps its last snapshot, marked stale, and is begun again after a growing while.
 */
import type { NormalizedSource } from "../config/index.ts"
import { messageOf } from "../errors.ts"
import type { Functions, RegistryDefinition } from "../policy/index.ts"
import type { ServiceRegistry } from "./services.ts"
import { SOURCES, toInstances } from "./sources/index.ts"
import { pause } from "./sources/pause.ts"

/** The first wait after a fault; doubled up to the source's interval, at most half a minute. */
const FIRST_WAIT_MS = 200
const LONGEST_WAIT_MS = 30_000

interface Following {
  readonly source: NormalizedSource
  readonly custom: RegistryDefinition | null
  readonly ended: AbortController
}

export type Complain = (text: string) => void

export class SourceFollower {
  readonly #registry: ServiceRegistry
  readonly #complain: Complain
  readonly #following = new Map<string, Following>()

  constructor(registry: ServiceRegistry, complain: Complain) {
    this.#registry = registry
    this.#complain = complain
  }

  /** Takes over the sources of a configuration; those that stay the same go on. */
  use(sources: Readonly<Record<string, NormalizedSource>>, { registries }: Functions): void {
    for (const [service, { source, custom, ended }] of this.#following) {
      const next = sources[service]
      const stays = next !== undefined && JSON.stringify(next) === JSON.stringify(source)
      if (stays && custom === customOf(next, registries)) continue
      ended.abort()
      this.#following.delete(service)
      if (next === undefined) this.#registry.useSourced(service, null)
    }
    for (const [service, source] of Object.entries(sources)) {
      if (this.#following.has(service)) continue
      const following = { source, custom: customOf(source, registries), ended: new AbortController() }
      this.#following.set(service, following)
      void this.#follow(service, following)
    }
  }

  close(): void {
    for (const { ended } of this.#following.values()) ended.abort()
    this.#following.clear()
  }

  async #follow(service: string, { source, custom, ended: { signal } }: Following): Promise<void> {
    let wait = FIRST_WAIT_MS
    while (!signal.aborted) {
      let fault = "it ended"
      try {
        for await (const entries of this.#open(service, { source, custom, signal })) {
          if (signal.aborted) return
          this.#take(service, source, entries)
          wait = FIRST_WAIT_MS
        }
      } catch (error) {
        fault = messageOf(error)
      }
      if (signal.aborted) return
      this.#registry.markStale(service, { kind: source.kind, fault })
      this.#complain(`service "${service}": its source ${source.kind} failed, what it said last stays: ${fault}`)
      await pause(wait, signal)
      wait = Math.min(wait * 2, Math.max(FIRST_WAIT_MS, Math.min(source.intervalMs, LONGEST_WAIT_MS)))
    }
  }

  #open(
    service: string,
    { source, custom, signal }: Omit<Following, "ended"> & { readonly signal: AbortSignal },
  ): AsyncIterable<readonly unknown[]> {
    if (source.kind !== "registry") return SOURCES[source.kind]({ service, source, signal })
    if (custom === null) throw new Error(`there is no registry "${source.target}"`)
    return custom.watch(service, signal)
  }

  #take(service: string, { kind }: NormalizedSource, entries: readonly unknown[]): void {
    const { instances, bad } = toInstances(entries)
    if (bad > 0) this.#complain(`service "${service}": ${bad} of ${entries.length} entries of ${kind} are no instances`)
    this.#registry.useSourced(service, { kind, instances })
  }
}

function customOf(source: NormalizedSource, registries: Functions["registries"]): RegistryDefinition | null {
  return source.kind === "registry" ? (registries.get(source.target) ?? null) : null
}
