//! What keeps one bad part from taking the rest down: breaker, rate limit, retry
//! budget, concurrency limit, outlier detection. Shared by all workers; `now` and
//! randomness are arguments, decisions come out; no I/O.
#![forbid(unsafe_code)]

mod adaptive;
mod backoff;
mod concurrency;
mod gate;
mod hedge;
mod outlier;
mod rate_limit;
mod retry;
mod retry_budget;
mod window;

pub use adaptive::{Adaptive, AdaptivePlan};
pub use backoff::Backoff;
pub use concurrency::{Concurrency, Full, Permit};
pub use gate::{Admission, BreakerPlan, Gate, GateState, Probe};
pub use hedge::{Hedge, HedgePlan};
pub use outlier::{OutlierDetector, OutlierPlan, OutlierState};
pub use rate_limit::{RateLimit, RateVerdict};
pub use retry::{Failure, RetryPlan, RetryPolicy};
pub use retry_budget::{RetryBudget, RetryPermit, RetryShare};
