//! Chunked bodies (RFC 9112 section 7.1). Chunks are decoded and written anew,
//! never passed through: what one side reads as data, the other must read as data.

use crate::body::Piece;
use tidegate_kit::DecodeError;

/// Most bytes of trailer lines.
const TRAILERS_MAX: usize = 8 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In the size; digits so far.
    Size {
        value: u64,
        digits: u8,
    },
    /// Behind the size, up to the line's CR.
    Extension {
        value: u64,
    },
    /// The LF of the size line is due.
    SizeLf {
        value: u64,
    },
    /// In the data.
    Data {
        left: u64,
    },
    /// CR, then LF, behind the data.
    DataCr,
    DataLf,
    /// In the trailer lines.
    Trailers,
    Done,
}

/// The decoder of one chunked body.
#[derive(Clone, Debug)]
pub struct Chunked {
    state: State,
    extensions_left: usize,
    trailers: Vec<u8>,
}

impl Chunked {
    pub(crate) fn new(extensions: usize) -> Self {
        Chunked { state: State::Size { value: 0, digits: 0 }, extensions_left: extensions, trailers: Vec::new() }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(crate) fn next<'a>(&mut self, input: &'a [u8]) -> Result<(Piece<'a>, usize), DecodeError> {
        let mut used = 0;
        loop {
            if self.state == State::Done {
                return Ok((Piece::End(self.trailer_lines()), used));
            }
            let Some(byte) = input.get(used).copied() else { return Ok((Piece::NeedMore, used)) };
            if let State::Data { left } = self.state {
                let take = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - used);
                let left = left - take as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                return Ok((Piece::Data(&input[used..used + take]), used + take));
            }
            self.state = self.step(byte)?;
            used += 1;
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, DecodeError> {
        match (self.state, byte) {
            (State::Size { value, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == 15 {
                    return Err(BAD_SIZE);
                }
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                Ok(State::Size { value: value << 4 | digit, digits: digits + 1 })
            }
            (State::Size { value, digits: 1.. }, b';') => Ok(State::Extension { value }),
            (State::Size { value, digits: 1.. } | State::Extension { value }, b'\r') => Ok(State::SizeLf { value }),
            (State::Extension { value }, b'\t' | b' '..=b'~' | 0x80..) => {
                self.extensions_left = self.extensions_left.checked_sub(1).ok_or(EXTENSIONS)?;
                Ok(State::Extension { value })
            }
            (State::SizeLf { value: 0 }, b'\n') => Ok(State::Trailers),
            (State::SizeLf { value }, b'\n') => Ok(State::Data { left: value }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { value: 0, digits: 0 }),
            (State::Trailers, _) => self.trailer_byte(byte),
            (State::Size { .. }, _) => Err(BAD_SIZE),
            _ => Err(BAD_CHUNK),
        }
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<State, DecodeError> {
        if self.trailers.len() == TRAILERS_MAX {
            return Err(TRAILERS);
        }
        self.trailers.push(byte);
        if byte != b'\n' {
            return Ok(State::Trailers);
        }
        if !self.trailers.ends_with(b"\r\n") {
            return Err(BAD_CHUNK);
        }
        if self.trailers.len() > 2 && !self.trailers.ends_with(b"\r\n\r\n") {
            return Ok(State::Trailers);
        }
        self.check_trailers().map(|()| State::Done)
    }

    fn check_trailers(&self) -> Result<(), DecodeError> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        match httparse::parse_headers(&self.trailers, &mut headers) {
            Ok(httparse::Status::Complete(_)) => Ok(()),
            _ => Err(TRAILERS),
        }
    }

    /// The trailer lines that may go on: framing, routing and identity do not belong
    /// there (RFC 9110 section 6.5.1).
    fn trailer_lines(&mut self) -> Vec<u8> {
        let raw = std::mem::take(&mut self.trailers);
        if raw.len() <= 2 {
            return Vec::new();
        }
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let Ok(httparse::Status::Complete((_, headers))) = httparse::parse_headers(&raw, &mut headers) else {
            return Vec::new();
        };
        let mut lines = Vec::with_capacity(raw.len());
        for header in headers.iter().filter(|header| may_trail(header.name)) {
            lines.extend_from_slice(header.name.as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(header.value);
            lines.extend_from_slice(b"\r\n");
        }
        lines
    }
}

fn may_trail(name: &str) -> bool {
    const FORBIDDEN: [&str; 8] =
        ["content-length", "host", "trailer", "authorization", "content-encoding", "content-type", "cookie", "expect"];
    crate::classify(name) == crate::FieldClass::EndToEnd
        && !FORBIDDEN.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Appends one chunk; nothing for no data, since an empty chunk would end the body.
pub fn put_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let mut digits = [0u8; 16];
    let mut at = digits.len();
    let mut rest = data.len();
    while rest > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[rest & 15];
        rest >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk with its trailer lines.
pub fn put_last_chunk(out: &mut Vec<u8>, trailers: &[u8]) {
    out.extend_from_slice(b"0\r\n");
    out.extend_from_slice(trailers);
    out.extend_from_slice(b"\r\n");
}

const BAD_SIZE: DecodeError =
    DecodeError::close(400, "RFC 9112 section 7.1", "a chunk size is not a hexadecimal number");
const BAD_CHUNK: DecodeError = DecodeError::close(400, "RFC 9112 section 7.1", "a chunk is malformed");
const EXTENSIONS: DecodeError =
    DecodeError::close(400, "RFC 9112 section 7.1.1", "the chunk extensions are larger than the limit");
const TRAILERS: DecodeError =
    DecodeError::close(400, "RFC 9112 section 7.1.2", "the trailer section is malformed or too large");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::{Body, BodyReader};

    fn decode(pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<Vec<u8>>), u16> {
        let mut reader = BodyReader::new(Body::Chunked, 64);
        let mut data = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            loop {
                let (found, used) = reader.next(input).map_err(|error| error.code)?;
                input = &input[used..];
                match found {
                    Piece::Data(bytes) => data.extend_from_slice(bytes),
                    Piece::NeedMore => break,
                    Piece::End(trailers) => return Ok((data, Some(trailers))),
                }
            }
        }
        Ok((data, None))
    }

    #[test]
    fn decodes_chunks_whatever_the_cuts() {
        let body = b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\n\r\n";
        for cut in 0..body.len() {
            let (data, trailers) = decode(&[&body[..cut], &body[cut..]]).expect("valid body");
            assert_eq!(data, b"hello world", "cut at {cut}");
            assert_eq!(trailers.as_deref(), Some(&b"X-Sum: 1\r\n"[..]), "cut at {cut}");
        }
    }

    #[test]
    fn refuses_every_other_spelling_of_a_size() {
        for bad in [
            "0x5\r\nhello\r\n",
            "-5\r\n",
            "5 \r\nhello\r\n",
            " 5\r\nhello",
            "5_0\r\n",
            "\r\n",
            ";a\r\n",
            "g\r\n",
            "5\nhello",
            "10000000000000000\r\n",
            "5\r\nhelloXX",
            "0\r\nbad line\r\n\r\n",
            "0\r\na: 1\n\r\n",
        ] {
            assert_eq!(decode(&[bad.as_bytes()]), Err(400), "{bad:?}");
        }
    }

    #[test]
    fn bounds_the_extensions_of_a_whole_body() {
        let chunk = format!("1;{}\r\nx\r\n", "e".repeat(40));
        assert_eq!(decode(&[chunk.as_bytes(), chunk.as_bytes()]), Err(400));
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut out = Vec::new();
        put_chunk(&mut out, &[7; 300]);
        put_chunk(&mut out, b"");
        put_last_chunk(&mut out, b"a: b\r\n");
        assert_eq!(decode(&[&out]), Ok((vec![7; 300], Some(b"a: b\r\n".to_vec()))));
    }
}
