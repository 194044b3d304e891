/** `balance:` of an upstream: each strategy's use, as in YAML. Options: src/balance/<name>.ts. */
import type { Key } from "../model/match.ts"

export const roundRobin = () => ({ roundRobin: {} })

export const weighted = (given: { maxFails?: number } = {}) => ({ weighted: given })

export const leastConnections = (given: { bias?: number } = {}) => ({ leastConnections: given })

export const peakEwma = (given: { decayMs?: number; seedMs?: number } = {}) => ({ peakEwma: given })

export const ipHash = (given: { prefixV4?: number; prefixV6?: number } = {}) => ({ ipHash: given })

export const loadScore = (given: { threshold?: number } = {}) => ({ loadScore: given })

/** How the gateway sets a cookie of session affinity; path `/`, HttpOnly and SameSite=Lax unless said otherwise. */
export interface CookieOptions {
  /** Default: as long as the browser lives. */
  ttlS?: number
  path?: string
  domain?: string
  httpOnly?: boolean
  sameSite?: "lax" | "strict" | "none"
  /** Default: where the client came by TLS. */
  secure?: boolean
}

/** `key` is the `hashKey` that a policy gave; client id, user or address where there is none. */
export function consistentHash(
  by: Key = "key",
  given: {
    algorithm?: "ring" | "maglev"
    size?: number
    boundedLoad?: number | false
    set?: true | CookieOptions
  } = {},
) {
  return { consistentHash: { ...(typeof by === "string" ? { by } : by), ...given } }
}
