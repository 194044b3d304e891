//! The frames of `tidegate.v1.json`.

use crate::pubsub::Queued;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidegate_message::{Outcome, Properties, Qos};
use tidegate_route::valid_topic;

/// A frame of the client.
#[derive(Deserialize, Debug)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Frame {
    Publish(Box<PublishFrame>),
    Subscribe {
        id: Option<u64>,
        filter: String,
        #[serde(default)]
        qos: u8,
    },
    Unsubscribe {
        id: Option<u64>,
        filter: String,
    },
    /// A message of QoS 1 has arrived.
    Ack {
        id: u64,
    },
    Ping {
        id: Option<u64>,
    },
}

/// A message of the client.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PublishFrame {
    pub(crate) id: Option<u64>,
    pub(crate) topic: String,
    #[serde(default)]
    pub(crate) payload: Value,
    #[serde(default)]
    pub(crate) qos: u8,
    #[serde(default)]
    pub(crate) retain: bool,
    /// Seconds.
    pub(crate) expiry: Option<u64>,
    content_type: Option<String>,
    response_topic: Option<String>,
    /// A string, or `{"base64": ...}`.
    #[serde(default)]
    correlation: Value,
    traceparent: Option<String>,
    /// A value, or several of one name.
    #[serde(default)]
    properties: BTreeMap<String, OneOrMore>,
}

/// A property's value.
#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Bytes of a text that MQTT can carry.
const TEXT_MAX: usize = 65_535;

impl PublishFrame {
    /// What goes with the message, as MQTT says it; nothing is often said.
    pub(crate) fn properties(&self) -> Result<Option<Box<Properties>>, &'static str> {
        let text = |text: &Option<String>| text.as_deref().map(Box::from);
        let correlation = match &self.correlation {
            Value::Null => None,
            value @ (Value::String(_) | Value::Object(_)) => Some(payload_bytes(value)?.into_boxed_slice()),
            _ => return Err("correlation is a string or {\"base64\"}"),
        };
        if self.response_topic.as_ref().is_some_and(|topic| !valid_topic(topic)) {
            return Err("responseTopic is no topic to publish to");
        }
        let mut user = Vec::new();
        user.extend(self.traceparent.as_ref().map(|trace| (Box::from("traceparent"), trace.as_str().into())));
        for (name, value) in &self.properties {
            let values = match value {
                OneOrMore::One(value) => std::slice::from_ref(value),
                OneOrMore::More(values) => values,
            };
            user.extend(values.iter().map(|value| (name.as_str().into(), value.as_str().into())));
        }
        let properties = Properties {
            content_type: text(&self.content_type),
            response_topic: text(&self.response_topic),
            correlation,
            user,
            ..Properties::default()
        };
        let fits = |text: &str| text.len() <= TEXT_MAX && !text.contains('\0');
        let fit = [&properties.content_type, &properties.response_topic].into_iter().flatten().all(|text| fits(text))
            && properties.user.iter().all(|(name, value)| fits(name) && fits(value))
            && properties.correlation.as_ref().is_none_or(|bytes| bytes.len() <= TEXT_MAX);
        if !fit {
            return Err("a property is longer than 65,535 bytes, or has a NUL");
        }
        Ok((properties != Properties::default()).then(|| Box::new(properties)))
    }
}

/// The bytes that a payload stands for: a string as it is, `{"base64": ...}` decoded,
/// any other value as JSON.
pub(crate) fn payload_bytes(payload: &Value) -> Result<Vec<u8>, &'static str> {
    match payload {
        Value::String(text) => Ok(text.clone().into_bytes()),
        Value::Null => Ok(Vec::new()),
        Value::Object(map) if map.len() == 1 && map.contains_key("base64") => match &map["base64"] {
            Value::String(text) => STANDARD.decode(text).map_err(|_| "payload.base64 is no base64"),
            _ => Err("payload.base64 is no string"),
        },
        value => Ok(value.to_string().into_bytes()),
    }
}

/// QoS 0 or 1; this protocol has no QoS 2.
pub(crate) fn promise(qos: u8) -> Result<Qos, &'static str> {
    match qos {
        0 => Ok(Qos::AtMostOnce),
        1 => Ok(Qos::AtLeastOnce),
        _ => Err("qos is 0 or 1"),
    }
}

/// A message for the client at `now_ms`; with `id` it wants an ack.
pub(crate) fn message(queued: &Queued, id: Option<u64>, now_ms: u64) -> String {
    let message = &queued.message;
    let mut frame = json!({
        "type": "message",
        "topic": message.topic(),
        "payload": text_or_base64(message.payload()),
        "retain": queued.retain,
    });
    if let Some(id) = id {
        (frame["id"], frame["qos"]) = (id.into(), 1.into());
    }
    if let Some(at) = message.expires_at {
        frame["expiry"] = at.saturating_sub(now_ms).div_ceil(1_000).into();
    }
    if let Some(properties) = &message.properties {
        let Properties { content_type, response_topic, correlation, user, utf8_payload: _ } = &**properties;
        for (name, value) in [("contentType", content_type), ("responseTopic", response_topic)] {
            if let Some(value) = value {
                frame[name] = (&**value).into();
            }
        }
        if let Some(correlation) = correlation {
            frame["correlation"] = text_or_base64(correlation);
        }
        for (name, value) in user {
            match &**name {
                "traceparent" => frame["traceparent"] = (&**value).into(),
                name => add_property(&mut frame["properties"][name], value),
            }
        }
    }
    frame.to_string()
}

/// A name that comes twice has a list.
fn add_property(place: &mut Value, value: &str) {
    *place = match place.take() {
        Value::Null => value.into(),
        Value::Array(mut list) => {
            list.push(value.into());
            list.into()
        }
        first => json!([first, value]),
    };
}

fn text_or_base64(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// The answer to a frame that has an id.
pub(crate) fn ack(id: Option<u64>, outcome: Outcome) -> String {
    json!({ "type": "ack", "id": id, "code": outcome.label() }).to_string()
}

/// A frame that could not be served.
pub(crate) fn error(id: Option<u64>, code: &str, message: &str) -> String {
    json!({ "type": "error", "id": id, "code": code, "message": message }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_keep_their_bytes() {
        assert_eq!(payload_bytes(&json!("x")), Ok(b"x".to_vec()));
        assert_eq!(payload_bytes(&json!({"base64": "AP8="})), Ok(vec![0, 255]));
        assert_eq!(payload_bytes(&json!({"t": 1})), Ok(b"{\"t\":1}".to_vec()));
        assert!(payload_bytes(&json!({"base64": "?"})).is_err());
    }

    fn properties_of(fields: &str) -> Result<Option<Box<Properties>>, &'static str> {
        match serde_json::from_str(&format!(r#"{{"type":"publish","topic":"a",{fields}}}"#)).expect("a frame") {
            Frame::Publish(publish) => publish.properties(),
            _ => Err("no publish"),
        }
    }

    #[test]
    fn what_goes_with_a_message_is_read_or_refused() {
        assert_eq!(properties_of(r#""qos":1"#), Ok(None));
        let all =
            r#""correlation":{"base64":"AP8="},"responseTopic":"r","properties":{"k":["1","2"]},"traceparent":"00""#;
        let all = properties_of(all).expect("fine").expect("some");
        assert_eq!((all.correlation.as_deref(), all.response_topic.as_deref()), (Some(&[0, 255][..]), Some("r")));
        let user = Vec::from_iter(all.user.iter().map(|(name, value)| (&**name, &**value)));
        assert_eq!(user, [("traceparent", "00"), ("k", "1"), ("k", "2")]);
        for bad in [r#""correlation":7"#, r#""responseTopic":"a/+""#, r#""contentType":"\u0000""#] {
            assert!(properties_of(bad).is_err(), "{bad}");
        }
        assert!(properties_of(&format!(r#""contentType":"{}""#, "x".repeat(70_000))).is_err());
    }

    #[test]
    fn unknown_frames_and_fields_are_refused() {
        for bad in [
            r#"{"type":"publish","topic":"a","correlationId":"x"}"#,
            r#"{"type":"dance"}"#,
            r#"{"type":"subscribe","id":1,"filter":"a","qoz":1}"#,
            "[]",
            "1",
            r#"{"id":1}"#,
        ] {
            assert!(serde_json::from_str::<Frame>(bad).is_err(), "{bad}");
        }
    }
}
