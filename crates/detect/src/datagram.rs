//! Openings of UDP datagrams.

/// What a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DatagramOpening {
    /// CoAP (RFC 7252 section 3): version 1.
    Coap,
    /// A DTLS record (RFC 6347), with or without a connection id (RFC 9146).
    Dtls,
    /// A QUIC long header (RFC 8999).
    Quic,
    /// None of them.
    Unknown,
}

/// What a datagram's first bytes say it is.
pub fn detect_datagram(bytes: &[u8]) -> DatagramOpening {
    match bytes {
        // RFC 7252 section 3: version 1, a token of at most 8 bytes, a header of 4.
        [first, _, _, _, ..] if first >> 6 == 1 => DatagramOpening::Coap,
        [20..=26, 254, 253 | 255, ..] if bytes.len() >= 13 => DatagramOpening::Dtls,
        [first, ..] if first & 0xc0 == 0xc0 && bytes.len() >= 7 => DatagramOpening::Quic,
        _ => DatagramOpening::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_coap_dtls_and_quic_apart() {
        assert_eq!(detect_datagram(&[0x40, 1, 0, 1]), DatagramOpening::Coap);
        assert_eq!(detect_datagram(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), DatagramOpening::Dtls);
        assert_eq!(detect_datagram(&[0xc3, 0, 0, 0, 1, 8, 1]), DatagramOpening::Quic);
        for bytes in [&[][..], &[0x40], &[0x40, 1, 0], &[0x80, 1, 0, 1], &[22, 3, 1]] {
            assert_eq!(detect_datagram(bytes), DatagramOpening::Unknown, "{bytes:?}");
        }
    }
}
