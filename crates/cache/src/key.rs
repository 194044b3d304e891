//! What an answer is kept under: the address as a client writes it, what the gateway
//! itself made of the request, and what the answer says that it depends on.

use httparse::Header;
use tidegate_http::tokens;

/// What an answer is kept under, but for its `Vary`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// Scheme, authority and target: what a change of the resource makes invalid.
    pub uri: Box<[u8]>,
    /// The route, and what its policies changed: two requests that differ there are two.
    pub form: Box<[u8]>,
}

impl Key {
    /// An address. No part holds a line's end: the grammar of heads forbids it.
    pub fn uri(scheme: &str, authority: &[u8], (path, query): (&[u8], &[u8])) -> Box<[u8]> {
        let mut uri = Vec::with_capacity(scheme.len() + authority.len() + path.len() + query.len() + 3);
        uri.extend_from_slice(scheme.as_bytes());
        uri.push(b'\n');
        uri.extend(authority.iter().map(u8::to_ascii_lowercase));
        uri.push(b'\n');
        uri.extend_from_slice(path);
        if !query.is_empty() {
            uri.push(b'?');
            uri.extend_from_slice(query);
        }
        uri.into()
    }
}

/// Names of fields and what a request says in them.
pub type FieldValues = Box<[(Box<str>, Box<[u8]>)]>;

/// The request's fields that an answer names in `Vary`, with their values.
pub fn vary_of(answer: &[Header<'_>], value: impl Fn(&str) -> Vec<u8>) -> FieldValues {
    let lines = answer.iter().filter(|header| header.name.eq_ignore_ascii_case("vary"));
    let names = lines.flat_map(|header| tokens(header.value));
    let mut found: Vec<(Box<str>, Box<[u8]>)> = Vec::new();
    for name in names.filter_map(|name| std::str::from_utf8(name).ok()) {
        if !found.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            found.push((name.to_ascii_lowercase().into(), value(name).into()));
        }
    }
    found.into()
}
