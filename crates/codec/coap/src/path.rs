//! The path and query of a request, between options and text (RFC 7252 section 6).

use crate::{Message, OptionNumber, OptionRef};

impl<'a> Message<'a> {
    /// The segments of the path, not escaped: a slash may stand within one. One empty
    /// segment is the root (section 6.5).
    pub fn path_segments(&self) -> impl Iterator<Item = &'a [u8]> {
        self.all(OptionNumber::URI_PATH)
    }

    /// The parameters of the query, not escaped.
    pub fn query(&self) -> impl Iterator<Item = &'a [u8]> {
        self.all(OptionNumber::URI_QUERY)
    }

    /// The first query parameter of that name; one without `=` has an empty value.
    pub fn query_value(&self, name: &str) -> Option<&'a [u8]> {
        self.query().find_map(|parameter| match parameter.strip_prefix(name.as_bytes())? {
            [] => Some(&[][..]),
            [b'=', value @ ..] => Some(value),
            _ => None,
        })
    }

    /// The host that the request names.
    pub fn host(&self) -> Option<&'a [u8]> {
        self.option(OptionNumber::URI_HOST).map(|option| option.value)
    }

    /// Puts the path in place of what is in `out`: escaped and canonical, so that a
    /// slash within a segment is `%2F` and routes never mistake it for one between.
    pub fn write_path(&self, out: &mut Vec<u8>) {
        out.clear();
        for segment in self.path_segments() {
            out.push(b'/');
            segment.iter().for_each(|byte| put_escaped(*byte, out));
        }
        if out.is_empty() {
            out.push(b'/');
        }
    }

    /// Puts the query in place of what is in `out`, escaped, without `?`. `false`: none.
    pub fn write_query(&self, out: &mut Vec<u8>) -> bool {
        out.clear();
        for (parameter, place) in self.query().zip(0..) {
            if place > 0 {
                out.push(b'&');
            }
            parameter.iter().for_each(|byte| put_query_escaped(*byte, out));
        }
        !out.is_empty()
    }

    fn all(&self, number: u16) -> impl Iterator<Item = &'a [u8]> {
        let wanted = move |option: &OptionRef<'a>| option.number == number;
        self.options().filter(wanted).map(|option| option.value)
    }
}

/// `pchar` of RFC 3986 section 3.3, without the semicolon that some servers cut at.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'='
                | b':'
                | b'@'
        )
}

fn put_escaped(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    match byte {
        byte if is_plain(byte) => out.push(byte),
        byte => out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
    }
}

fn put_query_escaped(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'/' | b'?' => out.push(byte),
        b'&' => out.extend_from_slice(b"%26"),
        b'+' => out.extend_from_slice(b"%2B"),
        byte => put_escaped(byte, out),
    }
}
