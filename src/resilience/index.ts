/** Retries, timeouts, breakers, limits: options and plan data; the work is Rust's. */
export { breaker, type BreakerOptions, BreakerSchema, toBreakerPlan } from "./breaker.ts"
export { OutlierSchema, toOutlierPlan } from "./outlier.ts"
export { rateLimit, type RateLimitOptions, RateLimitSchema, toRateLimitStep } from "./rate-limit.ts"
export { retry, type RetryOptions, RetrySchema, toRetryPlan } from "./retry.ts"
export { KeySchema } from "./step.ts"
export { timeout, type TimeoutOptions, TimeoutSchema } from "./timeout.ts"
