//! Frames as they stand on the wire, and what both ends' tests configure.

use tidegate_http2::{Allowed, Config};

pub(crate) const CONFIG: Config = Config {
    streams_max: 4,
    head_max: 1_024,
    stream_window: 1_000,
    connection_window: 65_535,
    out_max: 64 << 10,
    allowed: Allowed { resets_per_second: 100, control_per_second: 200 },
};
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const HEAD: u8 = 4;
/// END_STREAM and END_HEADERS.
pub(crate) const ENDS: u8 = 5;

/// RFC 9113 section 4.1.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A field without indexing, under a new name (RFC 7541 section 6.2.2).
pub(crate) fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}
