/** Steps and settings of a route and an upstream, as in YAML. Options: src/resilience/<name>.ts. */
import type { BreakerOptions, RateLimitOptions, RetryOptions, TimeoutOptions } from "../resilience/index.ts"

export const breaker = (options: BreakerOptions = {}) => ({ breaker: options })

export const rateLimit = (options: RateLimitOptions) => ({ rateLimit: options })

export const retry = (options: RetryOptions = {}) => ({ retry: options })

export const timeout = (options: TimeoutOptions | number) => ({
  timeout: typeof options === "number" ? { ms: options } : options,
})
