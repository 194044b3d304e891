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

export interface Sourced extends ServiceSource {
  readonly instances: readonly Instance[]
}

/** The instances that a source gives now; verdicts and times of known ones stay. */
export function nextSourced(
  before: Sourced | undefined,
  service: string,
  given: { readonly kind: string; readonly instances: readonly RegistryInstance[] },
  now: string,
): Sourced {
  const known = new Map(before?.instances.map((instance) => [instance.id, instance]))
  const instances = given.instances.map((found) => {
    const instance = toInstance(service, found, now)
    const earlier = known.get(instance.id)
    return earlier === undefined
      ? instance
      : { ...instance, status: earlier.status, registeredAt: earlier.registeredAt }
  })
  return { kind: given.kind, stale: false, fault: null, instances }
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
