/** What is said to the registry, and what becomes of a registration. */
import type { Instance, InstanceStatus } from "../model/service.ts"

/** What a registration says; the rest is the registry's. */
export interface Registration {
  readonly host: string
  readonly port: number
  readonly protocol?: string
  readonly weight?: number
  readonly zone?: string | null
  readonly version?: string | null
  readonly metadata?: Readonly<Record<string, string>>
  readonly ttlSeconds?: number | null
}

/** What may change without registering again. */
export type InstancePatch = Partial<Registration> & { readonly status?: InstanceStatus }

export interface InstanceFilter {
  readonly healthy?: boolean
  readonly zone?: string
  readonly version?: string
}

/** A registered instance changed here: by a call, or because its time was up. */
export interface RegistryChange {
  readonly service: string
  readonly id: string
  /** Null: it is gone. */
  readonly instance: Instance | null
  /** Milliseconds since 1970; of one whose time was up, when that was. */
  readonly at: number
}

/** The instance of a registration; one that was draining begins anew. */
export function register(asked: {
  readonly service: string
  readonly id: string
  readonly given: Registration
  readonly before: Instance | null
  readonly now: string
}): Instance {
  const { service, id, given, before, now } = asked
  const { host, port, protocol = "http", weight = 1, zone = null, version = null } = given
  return {
    id,
    service,
    host,
    port,
    protocol,
    weight,
    zone,
    version,
    metadata: given.metadata ?? {},
    ttlSeconds: given.ttlSeconds ?? null,
    status: before?.status === "draining" ? "unknown" : (before?.status ?? "unknown"),
    load: null,
    registeredAt: before?.registeredAt ?? now,
    lastHeartbeatAt: now,
  }
}
