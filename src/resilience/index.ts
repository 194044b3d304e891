/** Retries, timeouts, breakers, limits: options and plan data; the work is Rust's. */
export { type BreakerOptions, BreakerSchema, breaker, toBreakerPlan } from "./breaker.ts"
export { OutlierSchema, toOutlierPlan } from "./outlier.ts"
export { type RateLimitOptions, RateLimitSchema, rateLimit, toRateLimitStep } from "./rate-limit.ts"
export { type RetryOptions, RetrySchema, retry, toRetryPlan } from "./retry.ts"
export { KeySchema } from "./step.ts"
export { type TimeoutOptions, TimeoutSchema, timeout } from "./timeout.ts"
