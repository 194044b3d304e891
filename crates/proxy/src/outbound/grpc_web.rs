//! gRPC-Web (PROTOCOL-WEB.md): what a browser can say of gRPC. Trailers travel as a
//! last frame of the body; in the text form all of it is base64.

use base64::{Engine, engine::general_purpose::STANDARD};
use std::borrow::Cow;

const BINARY: &[u8] = b"application/grpc-web";
const TEXT: &[u8] = b"application/grpc-web-text";

/// One call that is translated.
pub(super) struct Web {
    is_text: bool,
    /// `+proto`, as the client wrote it.
    suffix: Box<[u8]>,
    /// Characters of the text form that make no whole group yet.
    rest: Vec<u8>,
}

impl Web {
    /// What a content type asks for; `None`: nothing of this.
    pub(super) fn of(content_type: &[u8]) -> Option<Web> {
        let kind = content_type.to_ascii_lowercase();
        let is_text = kind.starts_with(TEXT);
        let rest = kind.strip_prefix(if is_text { TEXT } else { BINARY })?;
        let suffix = rest.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let is_whole = suffix.is_empty() || suffix[0] == b'+';
        is_whole.then(|| Web { is_text, suffix: suffix.into(), rest: Vec::new() })
    }

    /// What the upstream is told.
    pub(super) fn request_type(&self) -> Vec<u8> {
        [b"application/grpc", &*self.suffix].concat()
    }

    /// What the browser is told.
    pub(super) fn content_type<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        if !value.starts_with(b"application/grpc") {
            return Cow::Borrowed(value);
        }
        Cow::Owned([if self.is_text { TEXT } else { BINARY }, &*self.suffix].concat())
    }

    /// Bytes of the request's body. `None`: this is no base64.
    pub(super) fn request<'d>(&mut self, data: &'d [u8]) -> Option<Cow<'d, [u8]>> {
        if !self.is_text {
            return Some(Cow::Borrowed(data));
        }
        self.rest.extend(data.iter().filter(|byte| !byte.is_ascii_whitespace()));
        let whole = self.rest.len() / 4 * 4;
        let mut out = Vec::with_capacity(whole / 4 * 3);
        // Each message may have been encoded by itself: padding may stand in between.
        for group in self.rest[..whole].chunks(4) {
            STANDARD.decode_vec(group, &mut out).ok()?;
        }
        self.rest.drain(..whole);
        Some(Cow::Owned(out))
    }

    /// Whether the request's body may end here.
    pub(super) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes of the answer's body.
    pub(super) fn response<'d>(&self, data: &'d [u8]) -> Cow<'d, [u8]> {
        if self.is_text { Cow::Owned(STANDARD.encode(data).into_bytes()) } else { Cow::Borrowed(data) }
    }

    /// The trailers as the body's last frame.
    pub(super) fn trailers(&self, lines: &[u8]) -> Vec<u8> {
        let length = u32::try_from(lines.len()).unwrap_or(u32::MAX).to_be_bytes();
        let frame = [&[0x80], &length[..], lines].concat();
        self.response(&frame).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_are_told_apart_and_translated_both_ways() {
        let web = Web::of(b"application/grpc-web+proto; charset=utf-8").expect("binary");
        assert_eq!((web.is_text, &*web.request_type()), (false, &b"application/grpc+proto"[..]));
        let text = Web::of(b"application/grpc-web-text").expect("text");
        assert_eq!(&*text.content_type(b"application/grpc"), b"application/grpc-web-text");
        assert_eq!(&*text.content_type(b"text/html"), b"text/html");
        for other in [&b"application/grpc"[..], b"application/grpc-webx", b"text/plain"] {
            assert!(Web::of(other).is_none(), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn text_is_decoded_however_it_is_cut_and_padded() {
        let whole = [STANDARD.encode("a"), STANDARD.encode("bcde")].concat();
        for step in 1..whole.len() {
            let mut web = Web::of(TEXT).expect("text");
            let mut out = Vec::new();
            for piece in whole.as_bytes().chunks(step) {
                out.extend_from_slice(&web.request(piece).expect("base64"));
            }
            assert!(out == b"abcde" && web.is_whole(), "{step}");
        }
        assert!(Web::of(TEXT).expect("text").request(b"????").is_none());
    }

    #[test]
    fn trailers_are_a_frame_with_the_highest_bit() {
        let web = Web::of(BINARY).expect("binary");
        assert_eq!(web.trailers(b"grpc-status: 0\r\n"), b"\x80\0\0\0\x10grpc-status: 0\r\n");
    }
}
