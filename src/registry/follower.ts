/**
 * Follows the sources of a configuration and keeps the registry at what they say. One that
 * fails keeps its last snapshot, marked stale, and is begun again after a growing while.
 */
import type { NormalizedSource } from "../config/index.ts"
import type { Functions, RegistryDefinition } from "../policy/index.ts"
import { follow } from "../remote/index.ts"
import type { ServiceRegistry } from "./services.ts"
import { SOURCES, toInstances } from "./sources/index.ts"

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

  #follow(service: string, { source, custom, ended: { signal } }: Following): Promise<void> {
    const { kind, intervalMs } = source
    return follow<readonly unknown[]>({
      open: () => this.#open(service, { source, custom, signal }),
      take: (entries) => this.#take(service, source, entries),
      failed: (fault) => {
        this.#registry.markStale(service, { kind, fault })
        this.#complain(`service "${service}": its source ${kind} failed, what it said last stays: ${fault}`)
      },
      intervalMs,
      signal,
    })
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
