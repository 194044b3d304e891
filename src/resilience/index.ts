/** Retries, timeouts, breakers, limits: options and plan data; the work is Rust's. */
export { type AdaptiveOptions, AdaptiveSchema, toAdaptivePlan } from "./adaptive.ts"
export { type BreakerOptions, BreakerSchema, toBreakerPlan } from "./breaker.ts"
export { type BulkheadOptions, BulkheadSchema } from "./bulkhead.ts"
export { OutlierSchema, toOutlierPlan } from "./outlier.ts"
export { type RateLimitOptions, RateLimitSchema, toRateLimitStep } from "./rate-limit.ts"
export { type RetryOptions, RetrySchema, toRetryPlan } from "./retry.ts"
export { KeySchema } from "./step.ts"
export { type TimeoutOptions, TimeoutSchema } from "./timeout.ts"
