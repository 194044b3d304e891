/**
 * The vocabulary of services and their instances: what registries give and health
 * checks judge. Types only.
 */

export type InstanceStatus = "healthy" | "unhealthy" | "unknown" | "draining"

/** Load as an instance reports it with its heartbeat; cpu and memory in percent. */
export interface Load {
  readonly active: number
  readonly max: number
  readonly cpu: number
  readonly memory: number
}

/** One place where a service runs. */
export interface Instance {
  readonly id: string
  readonly service: string
  readonly host: string
  readonly port: number
  readonly protocol: string
  readonly weight: number
  readonly zone: string | null
  readonly version: string | null
  readonly metadata: Readonly<Record<string, string>>
  /** Seconds without a heartbeat after which it is forgotten; null: never. */
  readonly ttlSeconds: number | null
  readonly status: InstanceStatus
  readonly load: Load | null
  /** RFC 3339. */
  readonly registeredAt: string
  readonly lastHeartbeatAt: string
}

/** All instances of one service at one moment. */
export interface ServiceSnapshot {
  readonly service: string
  readonly instances: readonly Instance[]
}

/** An endpoint of an upstream before its name is resolved. */
export interface Endpoint {
  readonly id: string
  readonly host: string
  readonly port: number
  readonly weight: number
  readonly zone: string | null
  readonly draining: boolean
  readonly load: Load | null
}
