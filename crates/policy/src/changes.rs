//! What a decision changes of an MQTT client, a publish, a subscription or a delivery:
//! the part of a verdict that only the broker's hooks and topic routes know. Checked as
//! strictly as what comes from a peer.

use serde::Deserialize;
use serde_json::Value;
use std::fmt;
use tidegate_route::valid_topic;

use crate::DecisionError;

/// Changes for the broker. What does not fit the hook that asked is ignored there.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Changes {
    /// The MQTT 5 reason code of a reject, 0x80 and above.
    pub reason: Option<u8>,
    /// The message goes nowhere, and its sender does not notice.
    pub drop: bool,
    /// Another topic, or another filter of a subscription.
    pub topic: Option<Box<str>>,
    /// Whether the message is kept as its topic's last value.
    pub retain: Option<bool>,
    /// Highest promise of a subscription, 0 to 2.
    pub qos: Option<u8>,
    /// Another payload came beside the verdict.
    pub payload: bool,
    /// Another client identifier.
    pub client_id: Option<Box<str>>,
    /// Who the client is.
    pub user: Option<Box<str>>,
    /// Whose it is: an attribute that later policies may read and keys may use.
    pub tenant: Option<Box<str>>,
    /// Everything is allowed to it.
    pub superuser: bool,
    /// Its own rules, as `auth.acl` has them.
    pub acl: Option<Value>,
    /// The pre-shared key of a client of DTLS.
    pub psk: Option<Psk>,
    /// Longest keep-alive, seconds.
    pub keep_alive_s: Option<u16>,
    /// Longest session expiry, seconds.
    pub session_expiry_s: Option<u32>,
}

/// Bytes of a pre-shared key, as many as the library of DTLS takes.
const PSK_MAX: usize = 32;

/// A pre-shared key; hexadecimal digits in a verdict.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Psk(pub Box<[u8]>);

// A key is in no log.
impl fmt::Debug for Psk {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Psk")
    }
}

impl TryFrom<String> for Psk {
    type Error = &'static str;

    fn try_from(digits: String) -> Result<Self, Self::Error> {
        let digit = |byte: u8| char::from(byte).to_digit(16).map(|value| value as u8);
        let byte = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
        let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|pair| byte(pair)).collect();
        let fits = rest.is_empty() && (1..=PSK_MAX).contains(&pairs.len());
        bytes.filter(|_| fits).map(|bytes| Psk(bytes.into())).ok_or("psk is not 1 to 32 bytes in hexadecimal digits")
    }
}

impl Changes {
    pub(crate) fn check(&self) -> Result<(), DecisionError> {
        if let Some(reason) = self.reason.filter(|reason| *reason < 0x80) {
            return Err(DecisionError::Reason(reason));
        }
        if self.qos.is_some_and(|qos| qos > 2) {
            return Err(DecisionError::Text("qos"));
        }
        // A filter is checked by the broker; neither holds NUL or more than a string may.
        let is_text = |text: &str| !text.is_empty() && text.len() <= 65_535 && !text.contains('\0');
        let is_topic = |topic: &str| is_text(topic) && (valid_topic(topic) || topic.contains(['+', '#']));
        let broken = [
            ("topic", self.topic.as_deref().is_some_and(|topic| !is_topic(topic))),
            ("clientId", self.client_id.as_deref().is_some_and(|id| !is_text(id))),
            ("user", self.user.as_deref().is_some_and(|user| !is_text(user))),
            ("tenant", self.tenant.as_deref().is_some_and(|tenant| !is_text(tenant))),
        ];
        match broken.into_iter().find(|(_, is_broken)| *is_broken) {
            Some((field, _)) => Err(DecisionError::Text(field)),
            None => Ok(()),
        }
    }
}
