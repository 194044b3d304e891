/** Instances by service and id: what is asked of one service costs nothing for the others. */
import type { Instance } from "../model/service.ts"

export class InstanceTable {
  readonly #services = new Map<string, Map<string, Instance>>()
  #size = 0

  get size(): number {
    return this.#size
  }

  services(): Iterable<string> {
    return this.#services.keys()
  }

  /** In the order in which they came. */
  of(service: string): Iterable<Instance> {
    return this.#services.get(service)?.values() ?? []
  }

  get(service: string, id: string): Instance | undefined {
    return this.#services.get(service)?.get(id)
  }

  set(instance: Instance): void {
    const { service, id } = instance
    const instances = this.#services.get(service) ?? new Map<string, Instance>()
    if (!instances.has(id)) this.#size++
    this.#services.set(service, instances.set(id, instance))
  }

  delete(service: string, id: string): boolean {
    const instances = this.#services.get(service)
    if (instances === undefined || !instances.delete(id)) return false
    this.#size--
    if (instances.size === 0) this.#services.delete(service)
    return true
  }

  *[Symbol.iterator](): Generator<Instance> {
    for (const instances of this.#services.values()) yield* instances.values()
  }
}
