//! The match half of the plan, field for field as TypeScript writes it
//! (`src/native/plan.ts`). Values are checked when a route is compiled, not when
//! the plan is parsed, so that a broken route fails alone.

use serde::Deserialize;

/// One route as the table takes it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec {
    /// What it matches.
    pub when: MatchPlan,
    /// Higher goes first. Default 0.
    #[serde(default)]
    pub priority: i32,
}

/// All given conditions must hold; `None` or empty: any.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MatchPlan {
    /// Labels of `Protocol`.
    pub protocols: Vec<String>,
    /// Lower case; `*.a.com` stands for one or more labels.
    pub host: Option<String>,
    /// Condition on the canonical path.
    pub path: Option<PathPlan>,
    /// Upper case.
    pub methods: Vec<String>,
    /// Every one must hold.
    pub headers: Vec<ValuePlan>,
    /// Every one must hold.
    pub query: Vec<ValuePlan>,
    /// Topic filter with `+` and `#`.
    pub topic: Option<String>,
    /// Condition on the MQTT client identifier.
    pub client_id: Option<TextPlan>,
    /// Condition on the user that authenticated.
    pub user: Option<TextPlan>,
    /// CIDRs or plain addresses.
    pub source: Vec<String>,
    /// Server name of the TLS ClientHello; may start with `*.`.
    pub sni: Option<String>,
    /// Condition on the client's certificate.
    pub certificate: Option<CertificatePlan>,
}

/// A condition on the certificate that a client showed and proved. Everything given must hold.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificatePlan {
    /// `false`: none was shown, and nothing else is asked.
    pub shown: bool,
    /// `CN=device-1, O=Plant`.
    pub subject: Option<TextPlan>,
    /// Any one of the alternative names.
    pub name: Option<TextPlan>,
    /// SHA-256, lower-case hexadecimal digits.
    pub fingerprint: Option<String>,
}

/// A condition on the path.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "kind", content = "value", rename_all = "camelCase")]
pub enum PathPlan {
    /// `/a` and nothing else.
    Exact(String),
    /// `/a`, `/a/` and all below.
    Prefix(String),
    /// `/a/{id}`: a name in braces stands for one segment that is not empty.
    Template(String),
    /// Anchored at both ends; a linear engine with a size cap.
    Regex(String),
}

/// How a text is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TextKind {
    /// Equal, byte for byte.
    Exact,
    /// Anchored at both ends.
    Regex,
    /// Any value, as long as there is one.
    Present,
}

/// A condition on a text.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct TextPlan {
    /// How.
    pub kind: TextKind,
    /// With what; ignored by `present`.
    pub value: String,
}

/// A condition on a named header or query parameter.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ValuePlan {
    /// Header names compare without case.
    pub name: String,
    /// How.
    pub kind: TextKind,
    /// With what; ignored by `present`.
    pub value: String,
}
