//! A decision of a TypeScript policy, as its answer on the ring holds it. What comes
//! from user code is checked as strictly as what comes from a peer: a decision that
//! breaks a rule is rubbish, and the policy's fallback counts.

use std::fmt;

use serde::Deserialize;
use tidegate_route::canonical_path;

use crate::Edits;
use crate::changes::Changes;
use crate::field::{is_header_name, is_header_value};

/// What a policy decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// `Some`: answer with this status and body instead of going on.
    pub reject: Option<(u16, Box<str>)>,
    /// Whether it may be kept for messages with the same key.
    pub cacheable: bool,
    answer: RawDecision,
}

/// Why an answer is none.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DecisionError {
    /// Not the JSON of a decision.
    Malformed(String),
    /// A reject with a status outside of 200 to 599.
    Status(u16),
    /// A header that cannot be sent.
    Header(String),
    /// A path that has no canonical form.
    Path(String),
    /// A reason code below 0x80 does not refuse.
    Reason(u8),
    /// A field of the broker's that holds what it must not.
    Text(&'static str),
}

impl fmt::Display for DecisionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecisionError::Malformed(reason) => write!(out, "not a decision: {reason}"),
            DecisionError::Status(status) => write!(out, "{status} is no status of an answer"),
            DecisionError::Header(name) => write!(out, "header `{name}` cannot be sent"),
            DecisionError::Path(path) => write!(out, "`{path}` is no canonical path"),
            DecisionError::Reason(reason) => write!(out, "reason {reason} refuses nothing"),
            DecisionError::Text(field) => write!(out, "{field} holds what it must not"),
        }
    }
}

impl std::error::Error for DecisionError {}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Action {
    #[default]
    Continue,
    Reject,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawDecision {
    action: Action,
    status: Option<u16>,
    body: Option<Box<str>>,
    #[serde(default)]
    set_headers: Option<Vec<(Box<str>, Box<str>)>>,
    #[serde(default)]
    remove_headers: Option<Vec<Box<str>>>,
    upstream: Option<Box<str>>,
    hash_key: Option<Box<str>>,
    path: Option<Box<str>>,
    no_cache: Option<bool>,
    broker: Option<Box<Changes>>,
}

impl Decision {
    /// It goes on as it is: what an answer of no bytes stands for.
    pub fn unchanged() -> Self {
        Decision { reject: None, cacheable: true, answer: RawDecision::default() }
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// The broken rule; the caller counts it and takes the fallback.
    pub fn decode(json: &[u8]) -> Result<Self, DecisionError> {
        let mut answer: RawDecision =
            serde_json::from_slice(json).map_err(|error| DecisionError::Malformed(error.to_string()))?;
        answer.check()?;
        let reject = match answer.action {
            Action::Continue => None,
            Action::Reject => Some((answer.status.unwrap_or(403), answer.body.take().unwrap_or_default())),
        };
        // A payload that came beside the verdict is not kept with it.
        let carries = answer.broker.as_ref().is_some_and(|changes| changes.payload);
        Ok(Decision { reject, cacheable: !carries && !answer.no_cache.unwrap_or(false), answer })
    }

    /// What it changes of the broker's.
    pub fn changes(&self) -> Option<&Changes> {
        self.answer.broker.as_deref()
    }

    /// Another upstream.
    pub fn upstream(&self) -> Option<&str> {
        self.answer.upstream.as_deref()
    }

    /// Headers to set: user properties of a message.
    pub fn set_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.answer.set_headers.iter().flatten().map(|(name, value)| (&**name, &**value))
    }

    /// Headers to remove.
    pub fn remove_headers(&self) -> impl Iterator<Item = &str> {
        self.answer.remove_headers.iter().flatten().map(|name| &**name)
    }

    /// Adds its changes to those of the request.
    pub fn apply(&self, edits: &mut Edits) {
        let answer = &self.answer;
        answer.remove_headers.iter().flatten().for_each(|name| edits.remove_request_header(name));
        answer.set_headers.iter().flatten().for_each(|(name, value)| edits.set_request_header(name, value));
        if let Some(upstream) = &answer.upstream {
            edits.set_upstream(upstream);
        }
        if let Some(key) = &answer.hash_key {
            edits.set_hash_key(key.as_bytes());
        }
        if let Some(path) = &answer.path {
            edits.set_path(path.as_bytes());
        }
    }
}

impl RawDecision {
    fn check(&self) -> Result<(), DecisionError> {
        if let Some(status) = self.status.filter(|status| !(200..600).contains(status)) {
            return Err(DecisionError::Status(status));
        }
        if let Some(changes) = &self.broker {
            changes.check()?;
        }
        let broken = |(name, value): &&(Box<str>, Box<str>)| !is_header_name(name) || !is_header_value(value);
        if let Some((name, _)) = self.set_headers.iter().flatten().find(broken) {
            return Err(DecisionError::Header(name.to_string()));
        }
        if let Some(name) = self.remove_headers.iter().flatten().find(|name| !is_header_name(name)) {
            return Err(DecisionError::Header(name.to_string()));
        }
        let canonical =
            |path: &str| canonical_path(path.as_bytes()).is_ok_and(|canonical| *canonical == *path.as_bytes());
        match self.path.as_deref().filter(|path| !canonical(path)) {
            Some(path) => Err(DecisionError::Path(path.to_owned())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_decision_becomes_edits() {
        let json = br#"{"action":"continue","setHeaders":[["x-a","1"]],"removeHeaders":["x-b"],"upstream":"beta",
                        "hashKey":"k","path":"/p","noCache":true,"status":null}"#;
        let decision = Decision::decode(json).expect("valid");
        let mut edits = Edits::new();
        decision.apply(&mut edits);
        assert_eq!(
            (edits.upstream(), edits.hash_key(), edits.path()),
            (Some("beta"), Some(&b"k"[..]), Some(&b"/p"[..]))
        );
        assert!(edits.drops_request_header(b"X-B") && !decision.cacheable && decision.reject.is_none());
    }

    #[test]
    fn a_key_is_bytes_of_a_bounded_number_and_in_no_log() {
        let with = |digits: &str| {
            Decision::decode(format!(r#"{{"action":"continue","broker":{{"psk":"{digits}"}}}}"#).as_bytes())
        };
        let decision = with("00fF").expect("valid");
        let key = decision.changes().and_then(|changes| changes.psk.as_ref()).expect("a key");
        assert_eq!(*key.0, [0, 255]);
        assert!(!format!("{decision:?}").contains("255"));
        assert!(with(&"ab".repeat(32)).is_ok() && with(&"ab".repeat(33)).is_err());
    }

    #[test]
    fn a_reject_without_a_status_is_403() {
        let decision = Decision::decode(br#"{"action":"reject","body":"no"}"#).expect("valid");
        assert_eq!(decision.reject, Some((403, "no".into())));
    }

    #[test]
    fn rubbish_is_an_error_and_never_a_decision() {
        for json in [
            &b""[..],
            b"null",
            b"{}",
            br#"{"action":"maybe"}"#,
            br#"{"action":"continue","extra":1}"#,
            br#"{"action":"reject","status":99}"#,
            br#"{"action":"continue","setHeaders":[["x-a","1\r\nx-b: 2"]]}"#,
            br#"{"action":"continue","setHeaders":[["x a","1"]]}"#,
            br#"{"action":"continue","removeHeaders":[""]}"#,
            br#"{"action":"continue","path":"p"}"#,
            br#"{"action":"continue","path":"/a/../b"}"#,
            br#"{"action":"reject","broker":{"reason":16}}"#,
            br#"{"action":"continue","broker":{"topic":""}}"#,
            br#"{"action":"continue","broker":{"psk":""}}"#,
            br#"{"action":"continue","broker":{"psk":"0g"}}"#,
            br#"{"action":"continue","broker":{"psk":"012"}}"#,
            br#"{"action":"continue","broker":{"topic":"a\u0000"}}"#,
            br#"{"action":"continue","broker":{"qos":3}}"#,
            br#"{"action":"continue","broker":{"clientId":""}}"#,
            br#"{"action":"continue","broker":{"payload":"x"}}"#,
        ] {
            assert!(Decision::decode(json).is_err(), "{}", String::from_utf8_lossy(json));
        }
    }

    proptest! {
        #[test]
        fn never_panics(json in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(Decision::decode(&json).is_err());
        }
    }
}
