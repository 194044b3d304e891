//! How a body is framed (RFC 9112 section 6.3) and the reader that follows it.

use crate::chunked::Chunked;
use tidegate_kit::DecodeError;

/// How the end of a body is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks up to the last one.
    Chunked,
    /// Everything until the connection closes; answers only.
    UntilClose,
}

/// A decimal Content-Length; `None` for a sign, spaces within, hex, nothing, or more
/// than 18 digits.
pub(crate) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}

/// What the next bytes of a body are.
#[derive(PartialEq, Eq, Debug)]
pub enum Piece<'a> {
    /// Bytes of the body.
    Data(&'a [u8]),
    /// The input is used up, the body is not.
    NeedMore,
    /// The body has ended. Trailer lines, each with its CR LF; empty where there are none.
    End(Vec<u8>),
}

/// Follows one body through the pieces it arrives in.
#[derive(Clone, Debug)]
pub enum BodyReader {
    /// A body of which so many bytes are left.
    Length(u64),
    /// A chunked body.
    Chunked(Chunked),
    /// A body that the end of the connection ends.
    UntilClose,
}

impl BodyReader {
    /// A reader of a body framed like that; `extensions` bounds its chunk extensions, bytes.
    pub fn new(body: Body, extensions: usize) -> Self {
        match body {
            Body::None => BodyReader::Length(0),
            Body::Length(length) => BodyReader::Length(length),
            Body::Chunked => BodyReader::Chunked(Chunked::new(extensions)),
            Body::UntilClose => BodyReader::UntilClose,
        }
    }

    /// The next piece and how many bytes of `input` it took, framing included.
    ///
    /// # Errors
    /// 400 for malformed chunks: the connection closes.
    pub fn next<'a>(&mut self, input: &'a [u8]) -> Result<(Piece<'a>, usize), DecodeError> {
        match self {
            BodyReader::Length(0) => Ok((Piece::End(Vec::new()), 0)),
            _ if input.is_empty() => Ok((Piece::NeedMore, 0)),
            BodyReader::Length(left) => {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= take as u64;
                Ok((Piece::Data(&input[..take]), take))
            }
            BodyReader::Chunked(chunked) => chunked.next(input),
            BodyReader::UntilClose => Ok((Piece::Data(input), input.len())),
        }
    }

    /// Whether the body has ended without looking at more bytes.
    pub fn is_done(&self) -> bool {
        match self {
            BodyReader::Length(left) => *left == 0,
            BodyReader::Chunked(chunked) => chunked.is_done(),
            BodyReader::UntilClose => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_decimal_lengths_count() {
        assert_eq!(content_length(b"42"), Some(42));
        for bad in [&b""[..], b"+1", b"-1", b"0x1", b"1_0", b"1 0", b"1,1", b"9999999999999999999"] {
            assert_eq!(content_length(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }
}
