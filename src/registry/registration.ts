/** What is said to the registry. Types only. */
import type { InstanceStatus } from "../model/service.ts"

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
