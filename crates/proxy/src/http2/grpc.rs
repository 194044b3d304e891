//! What gRPC over HTTP/2 says of timeouts and of answers that are not gRPC's
//! (PROTOCOL-HTTP2.md, "http-grpc-status-mapping.md").

use std::time::Duration;

/// Whether a content type is gRPC's own; gRPC-Web is another one.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    content_type.strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'+' | b';'))
}

/// `grpc-timeout`: at most eight digits and a unit.
pub(crate) fn parse_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// The time that a call has by its own words, in milliseconds; `None`: it is no call, or says nothing.
pub(crate) fn timeout_ms(content_type: Option<&[u8]>, timeout: Option<&[u8]>) -> Option<u64> {
    let timeout = timeout.filter(|_| content_type.is_some_and(|kind| kind.starts_with(b"application/grpc")))?;
    Some(parse_timeout(timeout)?.as_millis().clamp(1, u128::from(u64::MAX)) as u64)
}

/// The call's time is over.
pub(crate) const DEADLINE_EXCEEDED: u8 = 4;

/// The status of a call whose answer is plain HTTP.
pub(crate) const fn status_of(http: u16) -> u8 {
    match http {
        400 | 431 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        // The gateway's own time was over, whoever set it.
        504 => DEADLINE_EXCEEDED,
        429 | 502 | 503 => 14,
        _ => 2,
    }
}

/// Text as `grpc-message` carries it: percent-encoded.
pub(crate) fn message(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if (b' '..=b'~').contains(byte) && *byte != b'%' {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_have_up_to_eight_digits_and_a_unit() {
        assert_eq!(parse_timeout(b"15S"), Some(Duration::from_secs(15)));
        assert_eq!(parse_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(parse_timeout(b"250m"), Some(Duration::from_millis(250)));
        for bad in [&b""[..], b"S", b"1", b"1s", b"-1S", b"123456789S", b"1.5S"] {
            assert_eq!(parse_timeout(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn content_types_of_grpc_web_are_not_grpc() {
        assert!(is_grpc(b"application/grpc") && is_grpc(b"application/grpc+proto") && is_grpc(b"application/grpc;a"));
        assert!(!is_grpc(b"application/grpc-web") && !is_grpc(b"application/json"));
    }
}
