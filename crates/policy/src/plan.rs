//! The policy half of the plan, field for field as TypeScript writes it
//! (`src/native/plan.ts`).

use crate::cors::CorsPlan;
use crate::credentials::{ApiKeyPlan, BasicAuthPlan};
use serde::Deserialize;
use tidegate_cache::CachePolicy;
use tidegate_resilience::RetryPlan;
use tidegate_route::MatchPlan;

/// One step of a route.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum StepPlan {
    /// Headers of the request, in place of the client's.
    SetHeader {
        /// Name and value.
        headers: Vec<(String, String)>,
    },
    /// Headers of the request, besides the client's.
    AddHeader {
        /// Name and value.
        headers: Vec<(String, String)>,
    },
    /// Headers of the request that do not go on.
    RemoveHeader {
        /// Names, compared without case.
        names: Vec<String>,
    },
    /// Headers of the response, in place of the upstream's.
    SetResponseHeader {
        /// Name and value.
        headers: Vec<(String, String)>,
    },
    /// Headers of the response, besides the upstream's.
    AddResponseHeader {
        /// Name and value.
        headers: Vec<(String, String)>,
    },
    /// Headers of the response that do not go on.
    RemoveResponseHeader {
        /// Names, compared without case.
        names: Vec<String>,
    },
    /// Templates; `None` leaves the part as it is.
    Rewrite {
        /// New path.
        path: Option<String>,
        /// New host.
        host: Option<String>,
        /// New topic.
        topic: Option<String>,
    },
    /// An answer of ours.
    Respond {
        /// 100 to 599.
        status: u16,
        /// Name and value.
        headers: Vec<(String, String)>,
        /// Text.
        body: String,
    },
    /// A token bucket per key.
    RateLimit(RateLimitPlan),
    /// Which pages of other origins may use the route.
    Cors(CorsPlan),
    /// Who may use the route, by a key.
    ApiKey(ApiKeyPlan),
    /// Who may use the route, by name and password.
    BasicAuth(BasicAuthPlan),
    /// Answers are compressed for clients that accept it.
    Compress(CompressPlan),
    /// Which answers are kept, and how long.
    Cache(CachePolicy),
    /// Longest body of a request.
    BodyLimit {
        /// Beyond it: 413.
        bytes: u64,
    },
    /// Tries after a failed one.
    Retry {
        /// When and how often.
        retry: RetryPlan,
    },
    /// Deadline of the request.
    /// At most so many of the route's requests at its upstreams at once.
    Bulkhead {
        /// At least 1.
        max: u32,
    },
    /// Deadlines.
    Timeout {
        /// Until the response head, milliseconds.
        ms: u64,
        /// The same for each try.
        per_try_ms: Option<u64>,
        /// Without progress of the answer's body.
        #[serde(default)]
        idle_ms: Option<u64>,
        /// Until the answer's last byte.
        #[serde(default)]
        total_ms: Option<u64>,
    },
    /// A TypeScript policy.
    Script {
        /// Place in `Plan.scripts`.
        script: u32,
    },
}

/// Which answers are compressed.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompressPlan {
    /// Of `br zstd gzip`, the preferred first.
    pub codings: Vec<String>,
    /// Answers that say they are shorter go on as they are.
    pub min_bytes: u64,
    /// Content types, `text/*` stands for all of text.
    pub types: Vec<String>,
}

/// A rate limit; those of one name share their buckets.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RateLimitPlan {
    /// Stable name.
    pub name: String,
    /// Tokens a second.
    pub per_second: f64,
    /// Tokens that a bucket holds.
    pub burst: u32,
    /// What a bucket belongs to.
    pub key: KeyPlan,
    /// Buckets that are remembered.
    pub max_keys: usize,
    /// Whether other gateways are told what passes.
    #[serde(default)]
    pub shared: bool,
}

/// What a key is taken from.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct KeyPlan {
    /// `clientIp clientId user topic path host route header query cookie hashKey`, or an attribute.
    pub by: String,
    /// For header, query and cookie.
    pub name: Option<String>,
    /// What the key is taken from besides.
    #[serde(default)]
    pub also: Vec<KeyPlan>,
}

/// One use of a TypeScript policy.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScriptPlan {
    /// Place in the decision ring's policy table.
    pub id: u32,
    /// Its name in metrics.
    pub policy: String,
    /// Only what matches crosses.
    pub filter: Option<MatchPlan>,
    /// Decisions that are kept.
    pub cache: Option<CachePlan>,
    /// What is copied into the record.
    pub reads: Vec<FieldPlan>,
    /// Until the fallback answers, milliseconds.
    pub deadline_ms: u64,
    /// What happens then.
    pub fallback: FallbackPlan,
}

/// How decisions are kept.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachePlan {
    /// Messages with the same key get the same decision.
    pub by: KeyPlan,
    /// How long, milliseconds.
    pub ttl_ms: u64,
    /// How many, per worker.
    pub max_entries: usize,
}

/// A field that a policy reads.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct FieldPlan {
    /// `method host path query header cookie topic clientId contentType user source protocol`, or an attribute.
    pub field: String,
    /// For query, header and cookie.
    pub name: Option<String>,
}

/// What happens where no decision comes in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FallbackPlan {
    /// As if the policy were not there.
    Continue,
    /// 503.
    Reject,
}
