//! The frames of `tidegate.v1.json`.

use crate::pubsub::Queued;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use tidegate_message::{Outcome, Qos};

/// A frame of the client.
#[derive(Deserialize, Debug)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(crate) enum Frame {
    Publish {
        id: Option<u64>,
        topic: String,
        #[serde(default)]
        payload: Value,
        #[serde(default)]
        qos: u8,
        #[serde(default)]
        retain: bool,
        #[serde(rename = "contentType")]
        content_type: Option<String>,
        /// Seconds.
        expiry: Option<u64>,
    },
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

/// A message for the client; with `id` it wants an ack.
pub(crate) fn message(queued: &Queued, id: Option<u64>) -> String {
    let payload = match std::str::from_utf8(queued.message.payload()) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(queued.message.payload()) }),
    };
    let mut frame = json!({
        "type": "message",
        "topic": queued.message.topic(),
        "payload": payload,
        "retain": queued.retain,
    });
    if let Some(id) = id {
        (frame["id"], frame["qos"]) = (id.into(), 1.into());
    }
    if let Some(kind) = queued.message.content_type() {
        frame["contentType"] = kind.into();
    }
    frame.to_string()
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

    #[test]
    fn unknown_frames_and_fields_are_refused() {
        for bad in
            [r#"{"type":"dance"}"#, r#"{"type":"subscribe","id":1,"filter":"a","qoz":1}"#, "[]", "1", r#"{"id":1}"#]
        {
            assert!(serde_json::from_str::<Frame>(bad).is_err(), "{bad}");
        }
    }
}
