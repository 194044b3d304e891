//! `cors`: which pages of other origins may use a route (Fetch standard, section 3.2).
//! A preflight is answered here; other answers get the fields that let a page read them.

use serde::Deserialize;
use tidegate_message::{FieldId, View};

use crate::steps::Answer;
use crate::{Edits, PolicyError};

/// A `cors` step.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CorsPlan {
    /// `*`, `https://app.example`, `https://*.app.example`.
    pub origins: Vec<String>,
    /// Methods that a preflight allows.
    pub methods: Vec<String>,
    /// Request headers that a preflight allows; empty: those it asks for.
    pub headers: Vec<String>,
    /// Response headers that a page may read besides the safe ones.
    pub expose: Vec<String>,
    /// Whether a page may send cookies and logins.
    pub credentials: bool,
    /// How long a browser may keep a preflight, seconds.
    pub max_age_s: u32,
}

/// Compiled.
#[derive(Debug)]
pub(crate) struct Cors {
    any: bool,
    exact: Box<[Box<str>]>,
    /// What stands before and behind the `*`.
    wildcards: Box<[(Box<str>, Box<str>)]>,
    methods: Box<str>,
    headers: Box<str>,
    expose: Box<str>,
    credentials: bool,
    max_age: Box<str>,
    preflight: Answer,
    refusal: Answer,
}

impl Cors {
    pub(crate) fn compile(plan: &CorsPlan) -> Result<Self, PolicyError> {
        let lower = |origin: &String| origin.to_ascii_lowercase();
        let wildcard = |origin: &String| lower(origin).split_once('*').map(|(a, b)| (a.into(), b.into()));
        let named = || plan.origins.iter().filter(|origin| *origin != "*");
        Ok(Cors {
            any: plan.origins.iter().any(|origin| origin == "*"),
            exact: named().filter(|origin| !origin.contains('*')).map(|origin| lower(origin).into()).collect(),
            wildcards: named().filter_map(wildcard).collect(),
            methods: plan.methods.join(", ").into(),
            headers: plan.headers.join(", ").into(),
            expose: plan.expose.join(", ").into(),
            credentials: plan.credentials,
            max_age: plan.max_age_s.to_string().into(),
            preflight: Answer::new(204, &[], "")?,
            refusal: Answer::new(403, &[], "403 Forbidden: this origin may not use the route\n")?,
        })
    }

    /// Writes the fields; `Some`: it was a preflight, and this is its answer.
    pub(crate) fn run<V: View>(&self, view: &V, edits: &mut Edits) -> Option<&Answer> {
        // A cache must not give one origin's answer to another.
        edits.add_response_header("vary", "origin");
        // What the service says of it may let in whom the route does not.
        for field in ["access-control-allow-origin", "access-control-allow-credentials"] {
            edits.remove_response_header(field);
        }
        let origin = view.field(FieldId::Header("origin")).and_then(|origin| std::str::from_utf8(origin).ok());
        let wanted = view.field(FieldId::Header("access-control-request-method"));
        let preflight = wanted.is_some() && view.field(FieldId::Method) == Some(b"OPTIONS");
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else {
            return (preflight && origin.is_some()).then_some(&self.refusal);
        };
        let shown = if self.any && !self.credentials { "*" } else { origin };
        edits.set_response_header("access-control-allow-origin", shown);
        if self.credentials {
            edits.set_response_header("access-control-allow-credentials", "true");
        }
        if !preflight {
            if !self.expose.is_empty() {
                edits.set_response_header("access-control-expose-headers", &self.expose);
            }
            return None;
        }
        edits.set_response_header("access-control-allow-methods", &self.methods);
        let asked = view.field(FieldId::Header("access-control-request-headers"));
        match (self.headers.is_empty(), asked.and_then(|asked| std::str::from_utf8(asked).ok())) {
            (false, _) => edits.set_response_header("access-control-allow-headers", &self.headers),
            (true, Some(asked)) => edits.set_response_header("access-control-allow-headers", asked),
            (true, None) => {}
        }
        edits.set_response_header("access-control-max-age", &self.max_age);
        Some(&self.preflight)
    }

    fn allows(&self, origin: &str) -> bool {
        if self.any {
            return true;
        }
        let origin = origin.to_ascii_lowercase();
        let host = |text: &str| {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
        };
        self.exact.iter().any(|exact| **exact == *origin)
            || self.wildcards.iter().any(|(before, behind)| {
                let inner = origin.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**behind));
                inner.is_some_and(host)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[&str]) -> Cors {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let (methods, headers, expose) = (vec!["GET".to_owned()], vec![], vec![]);
        let plan = CorsPlan { origins, methods, headers, expose, credentials: false, max_age_s: 600 };
        Cors::compile(&plan).expect("valid")
    }

    #[test]
    fn an_origin_is_named_whole_or_by_its_subdomain() {
        let cors = cors(&["https://app.example", "https://*.corp.example"]);
        for origin in ["https://app.example", "https://a.corp.example", "https://a.b.corp.example"] {
            assert!(cors.allows(origin), "{origin}");
        }
        for origin in [
            "http://app.example",
            "https://app.example.evil",
            "https://.corp.example",
            "https://evil.example/.corp.example",
            "https://corp.example",
            "null",
        ] {
            assert!(!cors.allows(origin), "{origin}");
        }
    }
}
