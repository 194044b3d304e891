/** What several gateways have in common, with every default: `registry` and `rateLimits`. Types only. */
import type { RATE_LIMIT_KINDS } from "./schema/rate-limits.ts"
import type { REGISTRY_KINDS } from "./schema/registry.ts"

/** Where registered instances are kept when several gateways share them. */
export interface NormalizedRegistry {
  readonly kind: (typeof REGISTRY_KINDS)[number]
  readonly url: string
  /** Of postgres. */
  readonly table: string
  /** Of nats. */
  readonly bucket: string
  readonly user: string | null
  readonly password: string | null
  readonly token: string | null
}

/** Where gateways tell each other what passed the limits that they share. */
export interface NormalizedRateLimits {
  readonly kind: (typeof RATE_LIMIT_KINDS)[number]
  readonly url: string
  /** Of nats. */
  readonly user: string | null
  readonly password: string | null
  readonly token: string | null
  readonly channel: string
  readonly intervalMs: number
}
