//! The header fields that framing and forwarding care about.

/// What a forwarder does with a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldClass {
    /// Goes on as it came.
    EndToEnd,
    /// Belongs to one connection (RFC 9110 section 7.6.1): dropped, written anew where needed.
    HopByHop,
    /// Says who the client is: only the gateway and its policies may say that.
    Identity,
}

/// Fields with a meaning for framing, and those that tell who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Field {
    /// `Connection`
    Connection,
    /// `Content-Length`
    ContentLength,
    /// `Transfer-Encoding`
    TransferEncoding,
    /// `Host`
    Host,
    /// `Expect`
    Expect,
    /// `Upgrade`
    Upgrade,
    /// `TE`
    Te,
    /// `Authorization`
    Authorization,
    /// `Origin`
    Origin,
    /// Everything else.
    Other,
}

impl Field {
    /// The field a name stands for; names compare without case.
    pub fn of(name: &str) -> Field {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("te") => Field::Te,
            4 if is("host") => Field::Host,
            6 if is("expect") => Field::Expect,
            6 if is("origin") => Field::Origin,
            7 if is("upgrade") => Field::Upgrade,
            10 if is("connection") => Field::Connection,
            13 if is("authorization") => Field::Authorization,
            14 if is("content-length") => Field::ContentLength,
            17 if is("transfer-encoding") => Field::TransferEncoding,
            _ => Field::Other,
        }
    }
}

/// What a forwarder does with a field of that name. An underscore counts as a hyphen
/// for identity: many services read `X_User` and `X-User` as the same variable.
pub fn classify(name: &str) -> FieldClass {
    let Some(first) = name.as_bytes().first() else { return FieldClass::HopByHop };
    let is = |known: &str| name.eq_ignore_ascii_case(known);
    let hop = match first | 0x20 {
        b'c' if is_client_cert(name) => return FieldClass::Identity,
        b'c' => is("connection"),
        b'k' => is("keep-alive"),
        b'p' => is("proxy-connection") || is("proxy-authorization") || is("proxy-authenticate"),
        // The gateway's own: it holds a token that nobody else may see.
        b't' => is("te") || is("transfer-encoding") || is("tidegate-explain"),
        b'u' => is("upgrade"),
        // What the gateway's server of CoAP says to its client of CoAP: nobody from outside does, trusted or not.
        b'x' => return if is_between_parts(name) { FieldClass::HopByHop } else { identity(name) },
        b'f' if is("forwarded") => return FieldClass::Identity,
        _ => false,
    };
    if hop { FieldClass::HopByHop } else { FieldClass::EndToEnd }
}

/// `Client-Cert` and `Client-Cert-Chain`: RFC 9440 section 2.4 has whoever terminates TLS strip them.
fn is_client_cert(name: &str) -> bool {
    let is = |known: &str| {
        name.len() == known.len()
            && name
                .bytes()
                .zip(known.bytes())
                .all(|(byte, wanted)| byte.to_ascii_lowercase() == wanted || (byte == b'_' && wanted == b'-'))
    };
    is("client-cert") || is("client-cert-chain")
}

fn is_between_parts(name: &str) -> bool {
    name.get(..15).is_some_and(|start| start.eq_ignore_ascii_case("x-tidegate-coap"))
}

fn identity(name: &str) -> FieldClass {
    const PREFIXES: [&[u8]; 6] = [b"x-forwarded", b"x-real-ip", b"x-client-", b"x-user-", b"x-auth", b"x-tidegate-"];
    let starts = |prefix: &[u8]| {
        name.len() >= prefix.len()
            && name
                .bytes()
                .zip(prefix)
                .all(|(byte, wanted)| byte.to_ascii_lowercase() == *wanted || (byte == b'_' && *wanted == b'-'))
    };
    if PREFIXES.iter().any(|prefix| starts(prefix))
        || name.eq_ignore_ascii_case("x-user")
        || name.eq_ignore_ascii_case("x_user")
    {
        FieldClass::Identity
    } else {
        FieldClass::EndToEnd
    }
}

/// The tokens of a comma-separated list, trimmed, without empty ones.
pub fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

/// Whether a comma-separated list holds a token, without regard to case.
pub fn has_token(value: &[u8], token: &str) -> bool {
    tokens(value).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_headers_are_known_in_every_spelling() {
        for name in [
            "X-Forwarded-For",
            "x_forwarded_for",
            "X-Real-IP",
            "X-Auth",
            "X-Auth-User",
            "X_Auth",
            "x-user-id",
            "Forwarded",
            "X-Tidegate-Route",
            "Client-Cert",
            "client_cert_chain",
            "X-Forwarded-Client-Cert",
        ] {
            assert_eq!(classify(name), FieldClass::Identity, "{name}");
        }
        for name in ["X-Request-Id", "X-Users", "Accept", "Content-Type", "X-Authority"] {
            let expected = if name == "X-Authority" { FieldClass::Identity } else { FieldClass::EndToEnd };
            assert_eq!(classify(name), expected, "{name}");
        }
    }

    #[test]
    fn hop_by_hop_headers_are_known() {
        let own = ["X-Tidegate-Coap", "x-tidegate-coap-observe", "X-Tidegate-Coap-Code"];
        let known = ["Connection", "keep-alive", "TE", "Transfer-Encoding", "Upgrade", "Proxy-Connection"];
        for name in known.into_iter().chain(own) {
            assert_eq!(classify(name), FieldClass::HopByHop, "{name}");
        }
    }
}
