//! One canonical form of a request path, made once and used by routes and every
//! policy, so that no two parts of the gateway read the same path differently.
//! Spellings that servers behind us may read in two ways are refused.

use std::borrow::Cow;
use std::fmt;

/// What becomes of a spelling that servers read in two ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Ambiguity {
    /// 400. The default.
    #[default]
    Refuse,
    /// Kept as sent, for a route that opted in. NUL and dot segments above the root
    /// are refused all the same.
    Keep,
}

/// Why a path has no canonical form. Answer: 400.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PathError {
    /// Does not start with `/`.
    NotAbsolute,
    /// A control byte, a space, a backslash, `?` or `#`.
    InvalidByte,
    /// `%` without two hexadecimal digits.
    InvalidEscape,
    /// `%00`.
    EncodedNul,
    /// `%2F` or `%5C`.
    EncodedSlash,
    /// `%25` in front of two hexadecimal digits.
    DoubleEncoding,
    /// `//`.
    EmptySegment,
    /// `..;`: some servers cut a segment at the semicolon.
    DotParameter,
    /// `..` above the root.
    AboveRoot,
}

impl fmt::Display for PathError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            PathError::NotAbsolute => "the path does not start with a slash",
            PathError::InvalidByte => "the path has a byte that must be encoded",
            PathError::InvalidEscape => "the path has a broken percent escape",
            PathError::EncodedNul => "the path has an encoded NUL",
            PathError::EncodedSlash => "the path has an encoded slash or backslash",
            PathError::DoubleEncoding => "the path is encoded twice",
            PathError::EmptySegment => "the path has an empty segment",
            PathError::DotParameter => "the path has a dot segment with a parameter",
            PathError::AboveRoot => "the path leaves the root",
        })
    }
}

impl std::error::Error for PathError {}

/// The canonical form of a path without its query: unreserved escapes decoded,
/// other escapes in upper case, dot segments resolved. Borrows where nothing changes.
///
/// # Errors
/// The rule that the path breaks; ambiguous spellings are refused.
pub fn canonical_path(raw: &[u8]) -> Result<Cow<'_, [u8]>, PathError> {
    canonical_path_with(raw, Ambiguity::Refuse)
}

/// [`canonical_path`] for a route that says how to treat ambiguous spellings.
///
/// # Errors
/// As [`canonical_path`].
pub fn canonical_path_with(raw: &[u8], ambiguity: Ambiguity) -> Result<Cow<'_, [u8]>, PathError> {
    if is_canonical(raw) || raw == b"*" {
        return Ok(Cow::Borrowed(raw));
    }
    if raw.first() != Some(&b'/') {
        return Err(PathError::NotAbsolute);
    }
    let decoded = decode(raw, ambiguity)?;
    resolve(&decoded, ambiguity).map(Cow::Owned)
}

/// Nothing to decode, to resolve or to refuse. A dot or slash behind a slash, an
/// escape, a semicolon and every byte outside the plain set take the slow way.
fn is_canonical(raw: &[u8]) -> bool {
    let mut before = 0;
    for &byte in raw {
        if !is_plain(byte) || before == b'/' && (byte == b'/' || byte == b'.') {
            return false;
        }
        before = byte;
    }
    raw.first() == Some(&b'/')
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986 section 3.3 without escapes and the semicolon, and the slash.
const fn is_plain(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(byte, b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@')
}

fn decode(raw: &[u8], ambiguity: Ambiguity) -> Result<Vec<u8>, PathError> {
    let mut out = Vec::with_capacity(raw.len() + 8);
    let mut rest = raw;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'%' => {
                let value = escape(tail).ok_or(PathError::InvalidEscape)?;
                rest = &tail[2..];
                put_escape(value, ambiguity, &mut out)?;
            }
            b'\\' if ambiguity == Ambiguity::Keep => out.push(byte),
            0..=b' ' | 0x7f | b'\\' | b'?' | b'#' => return Err(PathError::InvalidByte),
            0x80.. => put_encoded(byte, &mut out),
            _ => out.push(byte),
        }
    }
    if ambiguity == Ambiguity::Refuse && is_encoded_twice(&out) {
        return Err(PathError::DoubleEncoding);
    }
    Ok(out)
}

/// Judged on what was decoded: the digits behind `%25` may have been escapes themselves.
fn is_encoded_twice(decoded: &[u8]) -> bool {
    decoded.windows(5).any(|part| part.starts_with(b"%25") && escape(&part[3..]).is_some())
}

fn put_escape(value: u8, ambiguity: Ambiguity, out: &mut Vec<u8>) -> Result<(), PathError> {
    let refuse = ambiguity == Ambiguity::Refuse;
    match value {
        0 => return Err(PathError::EncodedNul),
        b'/' | b'\\' if refuse => return Err(PathError::EncodedSlash),
        value if is_unreserved(value) => out.push(value),
        value => put_encoded(value, out),
    }
    Ok(())
}

fn put_encoded(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

fn escape(text: &[u8]) -> Option<u8> {
    let digit = |index: usize| text.get(index).and_then(|byte| (*byte as char).to_digit(16));
    Some((digit(0)? << 4 | digit(1)?) as u8)
}

/// Resolves dot segments (RFC 3986 section 5.2.4), but never above the root.
fn resolve(path: &[u8], ambiguity: Ambiguity) -> Result<Vec<u8>, PathError> {
    let refuse = ambiguity == Ambiguity::Refuse;
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." | b".." => {
                if segment == b".." {
                    let cut = out.iter().rposition(|byte| *byte == b'/').ok_or(PathError::AboveRoot)?;
                    out.truncate(cut);
                }
                if last {
                    out.push(b'/');
                }
            }
            b"" if refuse && !last => return Err(PathError::EmptySegment),
            segment if refuse && is_dot_parameter(segment) => return Err(PathError::DotParameter),
            segment => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    Ok(out)
}

/// `.;x`, `..;x`: with the semicolon plain or encoded.
fn is_dot_parameter(segment: &[u8]) -> bool {
    let dots = segment.iter().take_while(|byte| **byte == b'.').count();
    let behind = &segment[dots..];
    (1..=2).contains(&dots) && (behind.starts_with(b";") || behind.starts_with(b"%3B"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(raw: &str) -> Result<String, PathError> {
        canonical_path(raw.as_bytes()).map(|path| String::from_utf8_lossy(&path).into_owned())
    }

    #[test]
    fn borrows_a_path_that_is_canonical_already() {
        for path in ["/", "/a/b.c", "/a/", "/a=b,c", "*"] {
            assert!(matches!(canonical_path(path.as_bytes()), Ok(Cow::Borrowed(same)) if same == path.as_bytes()));
        }
    }

    #[test]
    fn decodes_what_needs_no_escape_and_resolves_dot_segments() {
        for (raw, path) in [
            ("/%61%2d%7E", "/a-~"),
            ("/a%c3%a4", "/a%C3%A4"),
            ("/a/./b/../c", "/a/c"),
            ("/a/%2e%2E/c", "/c"),
            ("/a/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/.hidden", "/.hidden"),
            ("/...", "/..."),
            ("/a;v=1", "/a;v=1"),
            ("/a%25", "/a%25"),
        ] {
            assert_eq!(canonical(raw).as_deref(), Ok(path), "{raw}");
        }
    }

    #[test]
    fn refuses_every_spelling_that_servers_read_in_two_ways() {
        for (raw, error) in [
            ("/a%2Fb", PathError::EncodedSlash),
            ("/a%5cb", PathError::EncodedSlash),
            ("/a\\b", PathError::InvalidByte),
            ("/a%00", PathError::EncodedNul),
            ("/a/..;/b", PathError::DotParameter),
            ("/a/%2e.;x/b", PathError::DotParameter),
            ("/a/..%3b/b", PathError::DotParameter),
            ("/a//b", PathError::EmptySegment),
            ("//a", PathError::EmptySegment),
            ("/a%252Fb", PathError::DoubleEncoding),
            ("/a%25%32%46b", PathError::DoubleEncoding),
            ("/a%252%46b", PathError::DoubleEncoding),
            ("/..", PathError::AboveRoot),
            ("/a/../../b", PathError::AboveRoot),
            ("/a%2", PathError::InvalidEscape),
            ("/a%zz", PathError::InvalidEscape),
            ("/a b", PathError::InvalidByte),
            ("/a#b", PathError::InvalidByte),
            ("a", PathError::NotAbsolute),
            ("", PathError::NotAbsolute),
        ] {
            assert_eq!(canonical(raw), Err(error), "{raw}");
        }
    }

    #[test]
    fn keeps_ambiguous_spellings_for_a_route_that_opted_in_but_never_a_nul() {
        let keep = |raw: &str| canonical_path_with(raw.as_bytes(), Ambiguity::Keep).map(Cow::into_owned);
        assert_eq!(keep("/a%2fb//c").as_deref(), Ok(&b"/a%2Fb//c"[..]));
        assert_eq!(keep("/a%252f").as_deref(), Ok(&b"/a%252f"[..]));
        assert_eq!(keep("/%00"), Err(PathError::EncodedNul));
    }

    proptest! {
        #[test]
        fn a_canonical_path_is_its_own_canonical_form(raw in "/[a-c./%2eEfF;~ä]{0,24}") {
            if let Ok(once) = canonical_path(raw.as_bytes()) {
                prop_assert_eq!(&canonical_path(&once).expect("canonical"), &once);
            }
        }

        #[test]
        fn never_panics_and_never_leaves_a_dot_segment(raw in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(path) = canonical_path(&raw) {
                prop_assert!(path.split(|byte| *byte == b'/').all(|part| part != b".." && part != b"."));
            }
        }
    }
}
