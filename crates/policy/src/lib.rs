//! Policies: steps compiled from the plan that run without leaving Rust, and what is
//! needed around those that do: filter, cache key, record, cached decisions. A
//! borrowed view comes in, a verdict and a list of edits go out; no I/O, no clock.
#![forbid(unsafe_code)]

mod changes;
mod cors;
mod credentials;
mod decision;
mod edits;
mod error;
mod field;
mod key;
mod limits;
mod plan;
mod reply;
mod script;
mod steps;
mod template;
mod verdict_cache;

pub use changes::Changes;
pub use cors::CorsPlan;
pub use credentials::{ApiKeyPlan, BasicAuth, BasicAuthPlan};
pub use decision::{Decision, DecisionError};
pub use edits::Edits;
pub use error::PolicyError;
pub use key::{Key, KeyInput};
pub use limits::{LimitRegistry, Spent};
pub use plan::{CachePlan, CompressPlan, FallbackPlan, FieldPlan, KeyPlan, RateLimitPlan, ScriptPlan, StepPlan};
pub use reply::ReplyTemplate;
pub use script::Script;
pub use steps::{Answer, Context, Explained, Steps, StepsInput, Timeout, Verdict};
pub use template::{Place, Template, TemplateInput};
pub use verdict_cache::VerdictCache;
