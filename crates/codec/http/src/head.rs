//! Finding the end of a head that arrives in pieces, with its limits counted as
//! it arrives, so that a slow or endless head costs one scan and no more memory
//! than the limit.

use tidegate_kit::DecodeError;
use tidegate_message::Limits;

/// Header lines that are parsed at most; `limits.header_count` may only be lower.
pub const HEADERS_MAX: usize = 128;

/// Where the scan of an unfinished head stands.
#[derive(Clone, Copy, Default, Debug)]
pub struct HeadScan {
    position: usize,
    line_start: usize,
    lines: usize,
}

impl HeadScan {
    /// Looks at what is new in `head` (which only ever grows). `Ok(true)`: an empty
    /// line ended it.
    ///
    /// # Errors
    /// 431 where a line, the count of lines or the whole is over its limit; 414 where
    /// it is the request line; 400 for a line that does not end in CR LF.
    pub fn advance(&mut self, head: &[u8], limits: &Limits) -> Result<bool, DecodeError> {
        while let Some(offset) = memchr::memchr(b'\n', &head[self.position..]) {
            let line_end = self.position + offset;
            let line = &head[self.line_start..line_end];
            if line.last() != Some(&b'\r') {
                return Err(BARE_LF);
            }
            check_no_cr(line)?;
            self.check_line(line.len(), limits)?;
            self.position = line_end + 1;
            self.line_start = self.position;
            // RFC 9112 section 2.2: an empty line before the request line is passed over.
            if line.len() == 1 && self.lines > 0 {
                return Ok(true);
            }
            self.lines += usize::from(line.len() > 1);
        }
        self.position = head.len();
        check_no_cr(&head[self.line_start..])?;
        self.check_line(head.len() - self.line_start, limits)?;
        if head.len() > limits.header_total {
            return Err(TOO_LARGE);
        }
        Ok(false)
    }

    fn check_line(&self, len: usize, limits: &Limits) -> Result<(), DecodeError> {
        if len > limits.header_line + 2 {
            return Err(if self.lines == 0 { TARGET_TOO_LONG } else { TOO_LARGE });
        }
        if self.lines > limits.header_count + 1 {
            return Err(TOO_LARGE);
        }
        Ok(())
    }
}

/// A CR inside of a line ends it for some readers; only the last byte may be one. A
/// line is looked at again as it grows, which its limit bounds.
fn check_no_cr(line: &[u8]) -> Result<(), DecodeError> {
    match memchr::memchr(b'\r', line) {
        Some(at) if at + 1 < line.len() => Err(BARE_CR),
        _ => Ok(()),
    }
}

const BARE_CR: DecodeError = DecodeError::close(400, "RFC 9112 section 2.2", "a line has a CR without LF");
pub(crate) const BARE_LF: DecodeError = DecodeError::close(400, "RFC 9112 section 2.2", "a line ends in LF without CR");
pub(crate) const TOO_LARGE: DecodeError =
    DecodeError::close(431, "RFC 6585 section 5", "the header section is larger than the limit");
const TARGET_TOO_LONG: DecodeError =
    DecodeError::close(414, "RFC 9110 section 15.5.15", "the request line is longer than the limit");

/// The offset of `part` in `whole`, of which it is a slice.
pub(crate) fn offset_of(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize)
}

/// `httparse` takes a bare LF as a line's end; a proxy must not (two readings of one
/// message are how requests are smuggled). Each line of the parsed head is checked
/// against its limit on the way.
pub(crate) fn check_lines(head: &[u8], headers: &[httparse::Header<'_>], limits: &Limits) -> Result<(), DecodeError> {
    if head.len() > limits.header_total || headers.len() > limits.header_count {
        return Err(TOO_LARGE);
    }
    let mut start = 0;
    for header in headers {
        let next = offset_of(head, header.name.as_bytes());
        check_line_end(head, next)?;
        if next - start > limits.header_line + 2 {
            return Err(if start == 0 { TARGET_TOO_LONG } else { TOO_LARGE });
        }
        start = next;
    }
    let last = head.len() - 2;
    check_line_end(head, head.len())?;
    check_line_end(head, last)?;
    if last - start > limits.header_line + 2 {
        return Err(if headers.is_empty() { TARGET_TOO_LONG } else { TOO_LARGE });
    }
    Ok(())
}

fn check_line_end(head: &[u8], end: usize) -> Result<(), DecodeError> {
    match head.get(end.wrapping_sub(2)..end) {
        Some(b"\r\n") => Ok(()),
        _ => Err(BARE_LF),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { header_line: 20, header_total: 64, header_count: 2, ..Limits::default() }
    }

    #[test]
    fn finds_the_end_whatever_the_pieces() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..head.len() {
            let mut scan = HeadScan::default();
            assert_eq!(scan.advance(&head[..cut], &limits()), Ok(false), "cut at {cut}");
            assert_eq!(scan.advance(head, &limits()), Ok(true), "cut at {cut}");
        }
    }

    #[test]
    fn refuses_a_long_line_before_it_has_ended() {
        let mut scan = HeadScan::default();
        let head = b"GET / HTTP/1.1\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        assert_eq!(scan.advance(head, &limits()).map_err(|e| e.code), Err(431));
        assert_eq!(HeadScan::default().advance(&[b'G'; 30], &limits()).map_err(|e| e.code), Err(414));
    }

    #[test]
    fn refuses_too_many_lines_and_bare_line_feeds() {
        let head = b"GET / HTTP/1.1\r\na: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n";
        assert_eq!(HeadScan::default().advance(head, &limits()).map_err(|e| e.code), Err(431));
        assert_eq!(HeadScan::default().advance(b"GET / HTTP/1.1\n", &limits()).map_err(|e| e.code), Err(400));
        assert_eq!(HeadScan::default().advance(b"GET / HTTP/1.1\ra: b", &limits()).map_err(|e| e.code), Err(400));
    }
}
