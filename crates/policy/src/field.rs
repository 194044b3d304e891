//! Named reads from a view, shared by keys and by the records of scripts; and what
//! makes a header valid.

use tidegate_message::{FieldId, View};

use crate::PolicyError;

/// Something that can be read from a message and its peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Field {
    Method,
    Host,
    Path,
    Topic,
    ClientId,
    ContentType,
    Query(Box<str>),
    Header(Box<str>),
    Cookie(Box<str>),
    User,
    /// Fingerprint, subject, then each name as `dns:a.example`, a line each.
    Certificate,
    /// The address without the port, as text.
    Source,
    Protocol,
    /// What only the broker's hooks know, and what the handshake of TLS told.
    Attribute(&'static str),
}

/// Names of attributes: of the hook, the CONNECT, the message and the peer.
const ATTRIBUTES: [&str; 15] = [
    "hook",
    "qos",
    "retain",
    "username",
    "password",
    "version",
    "cleanStart",
    "keepAlive",
    "sessionExpiry",
    "willTopic",
    "reason",
    "sni",
    "subject",
    "tenant",
    "payload",
];

impl Field {
    /// `None` where it is unknown or lacks its name.
    pub(crate) fn compile(field: &str, name: Option<&str>) -> Option<Self> {
        let named = || name.filter(|name| !name.is_empty()).map(Box::from);
        Some(match field {
            "method" => Field::Method,
            "host" => Field::Host,
            "path" => Field::Path,
            "topic" => Field::Topic,
            "clientId" => Field::ClientId,
            "contentType" => Field::ContentType,
            "query" => Field::Query(named()?),
            "header" => Field::Header(named()?),
            "cookie" => Field::Cookie(named()?),
            "user" => Field::User,
            "certificate" => Field::Certificate,
            "source" => Field::Source,
            "protocol" => Field::Protocol,
            _ => Field::Attribute(ATTRIBUTES.into_iter().find(|name| *name == field)?),
        })
    }

    /// Appends the value; says whether the message has one.
    pub(crate) fn append<V: View>(&self, view: &V, out: &mut Vec<u8>) -> bool {
        let id = match self {
            Field::Method => FieldId::Method,
            Field::Host => FieldId::Host,
            Field::Path => FieldId::Path,
            Field::Topic => FieldId::Topic,
            Field::ClientId => FieldId::ClientId,
            Field::ContentType => FieldId::ContentType,
            Field::Query(name) => FieldId::Query(name),
            Field::Header(name) => FieldId::Header(name),
            Field::Cookie(name) => FieldId::Cookie(name),
            Field::User => return append(view.peer().user().map(|user| user.as_bytes()), out),
            Field::Certificate => return append_certificate(view, out),
            Field::Protocol => return append(Some(view.protocol().label().as_bytes()), out),
            Field::Source => return append_address(view, out),
            Field::Attribute(name) => return append(attribute(view, name), out),
        };
        append(view.field(id), out)
    }
}

fn attribute<'v, V: View>(view: &'v V, name: &'static str) -> Option<&'v [u8]> {
    let peer = view.peer();
    match name {
        "sni" => peer.sni().map(str::as_bytes),
        "subject" => peer.certificate().map(|certificate| certificate.subject.as_bytes()),
        "tenant" => peer.tenant().map(str::as_bytes),
        // It does not stand in the record: whoever wants it asks for it.
        "payload" => None,
        _ => view.field(FieldId::Attribute(name)),
    }
}

fn append(value: Option<&[u8]>, out: &mut Vec<u8>) -> bool {
    out.extend_from_slice(value.unwrap_or_default());
    value.is_some()
}

fn append_certificate<V: View>(view: &V, out: &mut Vec<u8>) -> bool {
    let Some(shown) = view.peer().certificate() else { return false };
    out.extend_from_slice(shown.fingerprint.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(shown.subject.as_bytes());
    for name in &shown.names {
        for part in ["\n", name.kind.label(), ":", &name.text] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    true
}

fn append_address<V: View>(view: &V, out: &mut Vec<u8>) -> bool {
    // Writing to a `Vec` cannot fail.
    std::io::Write::write_fmt(out, format_args!("{}", view.peer().address.ip().to_canonical())).is_ok()
}

/// Whether it may be sent as a header's name (RFC 9110 section 5.6.2).
pub(crate) fn is_header_name(name: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.len() <= 256 && name.bytes().all(token)
}

/// Whether it may be sent as a header's value: no control byte but a tab, no space at
/// the ends (RFC 9110 section 5.5).
pub(crate) fn is_header_value(value: &str) -> bool {
    value.bytes().all(|byte| byte == b'\t' || byte >= b' ' && byte != 0x7f) && value.trim_matches([' ', '\t']) == value
}

pub(crate) fn check_header(name: &str, value: &str) -> Result<(), PolicyError> {
    if !is_header_name(name) {
        return Err(PolicyError::InvalidHeaderName(name.to_owned()));
    }
    is_header_value(value).then_some(()).ok_or_else(|| PolicyError::InvalidHeaderValue(name.to_owned()))
}
