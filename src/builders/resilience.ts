/** Steps and settings of a route and an upstream, as in YAML. Options: src/resilience/<name>.ts. */
import type {
  BreakerOptions,
  BulkheadOptions,
  RateLimitOptions,
  RetryOptions,
  TimeoutOptions,
} from "../resilience/index.ts"

export const breaker = (options: BreakerOptions = {}) => ({ breaker: options })

export const rateLimit = (options: RateLimitOptions) => ({ rateLimit: options })

export const retry = (options: RetryOptions = {}) => ({ retry: options })

/** Requests of the route at its upstreams at once. */
export const bulkhead = (options: BulkheadOptions | number) => ({
  bulkhead: typeof options === "number" ? { max: options } : options,
})

export const timeout = (options: TimeoutOptions | number) => ({
  timeout: typeof options === "number" ? { ms: options } : options,
})
