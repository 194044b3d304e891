//! What the steps of a route change: collected in one buffer that is used again, and
//! applied by the encoder that writes the request or response. Nothing is changed in
//! place, because the view is a borrowed head.

/// A span of the buffer.
type Span = (u32, u32);

/// The changes of one request.
#[derive(Debug, Default)]
pub struct Edits {
    bytes: Vec<u8>,
    request: HeaderEdits,
    response: HeaderEdits,
    path: Option<Span>,
    host: Option<Span>,
    topic: Option<Span>,
    upstream: Option<Span>,
    hash_key: Option<Span>,
}

#[derive(Debug, Default)]
struct HeaderEdits {
    list: Vec<(Span, Change)>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Remove,
    /// In place of all of that name.
    Set(Span),
    /// Besides those of that name.
    Add(Span),
}

impl Edits {
    /// No changes.
    pub fn new() -> Self {
        Edits::default()
    }

    /// Forgets all changes and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.request.list.clear();
        self.response.list.clear();
        (self.path, self.host, self.topic, self.upstream, self.hash_key) = (None, None, None, None, None);
    }

    /// Whether the request's headers go on as they came.
    pub fn keeps_request_headers(&self) -> bool {
        self.request.list.is_empty()
    }

    /// Whether the response's headers go on as they came: its head may then be
    /// forwarded unchanged.
    pub fn keeps_response_headers(&self) -> bool {
        self.response.list.is_empty()
    }

    /// Sets a header of the request in place of all of that name.
    pub fn set_request_header(&mut self, name: &str, value: &str) {
        self.request.set(&mut self.bytes, name, value);
    }

    /// Adds a header to the request, besides those of that name.
    pub fn add_request_header(&mut self, name: &str, value: &str) {
        self.request.add(&mut self.bytes, name, value);
    }

    /// Removes all headers of that name from the request.
    pub fn remove_request_header(&mut self, name: &str) {
        self.request.remove(&mut self.bytes, name);
    }

    /// Sets a header of the response in place of all of that name.
    pub fn set_response_header(&mut self, name: &str, value: &str) {
        self.response.set(&mut self.bytes, name, value);
    }

    /// Adds a header to the response, besides those of that name.
    pub fn add_response_header(&mut self, name: &str, value: &str) {
        self.response.add(&mut self.bytes, name, value);
    }

    /// Removes all headers of that name from the response.
    pub fn remove_response_header(&mut self, name: &str) {
        self.response.remove(&mut self.bytes, name);
    }

    /// Whether a header line that came with the request must not go on: it is removed
    /// or set. `X_Auth` is `X-Auth`, because servers behind us may read it so.
    pub fn drops_request_header(&self, name: &[u8]) -> bool {
        self.request.drops(&self.bytes, name)
    }

    /// The same for the response.
    pub fn drops_response_header(&self, name: &[u8]) -> bool {
        self.response.drops(&self.bytes, name)
    }

    /// Headers to add to the request, name and value.
    pub fn request_headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.request.added(&self.bytes)
    }

    /// Headers to add to the response, name and value.
    pub fn response_headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.response.added(&self.bytes)
    }

    /// Appends what was changed of the request, so that two requests that came alike and
    /// were changed differently are told apart.
    pub fn put_request_changes(&self, out: &mut Vec<u8>) {
        for (name, change) in &self.request.list {
            let (kind, value) = match change {
                Change::Remove => (b'-', &b""[..]),
                Change::Set(span) => (b'=', slice(&self.bytes, *span)),
                Change::Add(span) => (b'+', slice(&self.bytes, *span)),
            };
            out.push(kind);
            for part in [slice(&self.bytes, *name), b":", value, b"\n"] {
                out.extend_from_slice(part);
            }
        }
        for (kind, span) in [(b'p', self.path), (b'h', self.host), (b'u', self.upstream)] {
            if let Some(span) = span {
                out.push(kind);
                out.extend_from_slice(slice(&self.bytes, span));
                out.push(b'\n');
            }
        }
    }

    /// The new path, without query.
    pub fn path(&self) -> Option<&[u8]> {
        self.path.map(|span| slice(&self.bytes, span))
    }

    /// The new host.
    pub fn host(&self) -> Option<&[u8]> {
        self.host.map(|span| slice(&self.bytes, span))
    }

    /// The new topic; whoever publishes to it checks that it is one.
    pub fn topic(&self) -> Option<&[u8]> {
        self.topic.map(|span| slice(&self.bytes, span))
    }

    /// The upstream that a policy chose, by name.
    pub fn upstream(&self) -> Option<&str> {
        self.upstream.and_then(|span| std::str::from_utf8(slice(&self.bytes, span)).ok())
    }

    /// The key that a policy chose for hashing.
    pub fn hash_key(&self) -> Option<&[u8]> {
        self.hash_key.map(|span| slice(&self.bytes, span))
    }

    /// Sets the path.
    pub fn set_path(&mut self, path: &[u8]) {
        self.path = Some(put(&mut self.bytes, path));
    }

    /// Sets the upstream.
    pub fn set_upstream(&mut self, name: &str) {
        self.upstream = Some(put(&mut self.bytes, name.as_bytes()));
    }

    /// Sets the key for hashing.
    pub fn set_hash_key(&mut self, key: &[u8]) {
        self.hash_key = Some(put(&mut self.bytes, key));
    }

    /// Sets the path to what `write` appends, unless it says that it cannot.
    pub(crate) fn render_path(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        render(&mut self.bytes, &mut self.path, write)
    }

    pub(crate) fn render_host(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        render(&mut self.bytes, &mut self.host, write)
    }

    pub(crate) fn render_topic(&mut self, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
        render(&mut self.bytes, &mut self.topic, write)
    }
}

impl HeaderEdits {
    fn remove(&mut self, bytes: &mut Vec<u8>, name: &str) {
        self.change(bytes, name, Change::Remove);
    }

    fn set(&mut self, bytes: &mut Vec<u8>, name: &str, value: &str) {
        let value = put(bytes, value.as_bytes());
        self.change(bytes, name, Change::Set(value));
    }

    fn add(&mut self, bytes: &mut Vec<u8>, name: &str, value: &str) {
        let (name, value) = (put(bytes, name.as_bytes()), put(bytes, value.as_bytes()));
        self.list.push((name, Change::Add(value)));
    }

    /// The last word on a name counts.
    fn change(&mut self, bytes: &mut Vec<u8>, name: &str, change: Change) {
        self.list.retain(|(own, _)| !same_name(slice(bytes, *own), name.as_bytes()));
        self.list.push((put(bytes, name.as_bytes()), change));
    }

    fn drops(&self, bytes: &[u8], name: &[u8]) -> bool {
        let replaces = |change| !matches!(change, Change::Add(_));
        self.list.iter().any(|(own, change)| replaces(*change) && same_name(slice(bytes, *own), name))
    }

    fn added<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.list.iter().filter_map(|(name, change)| match change {
            Change::Remove => None,
            Change::Set(value) | Change::Add(value) => Some((slice(bytes, *name), slice(bytes, *value))),
        })
    }
}

fn same_name(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().map(fold).eq(other.iter().map(fold))
}

fn put(bytes: &mut Vec<u8>, text: &[u8]) -> Span {
    let start = bytes.len() as u32;
    bytes.extend_from_slice(text);
    (start, bytes.len() as u32)
}

fn render(bytes: &mut Vec<u8>, place: &mut Option<Span>, write: impl FnOnce(&mut Vec<u8>) -> bool) -> bool {
    let start = bytes.len() as u32;
    let written = write(bytes);
    if written {
        *place = Some((start, bytes.len() as u32));
    }
    written
}

fn slice(bytes: &[u8], (start, end): Span) -> &[u8] {
    &bytes[start as usize..end as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_on_a_header_counts() {
        let mut edits = Edits::new();
        edits.set_request_header("X-A", "1");
        edits.set_request_header("x-a", "2");
        edits.set_request_header("X-B", "3");
        edits.remove_request_header("x-b");
        let added: Vec<_> = edits.request_headers().collect();
        assert_eq!(added, [(&b"x-a"[..], &b"2"[..])]);
        assert!(edits.drops_request_header(b"X-B") && edits.drops_request_header(b"X_A"));
        assert!(!edits.drops_request_header(b"X-C") && edits.keeps_response_headers());
        edits.clear();
        assert!(edits.keeps_request_headers());
    }

    #[test]
    fn an_added_header_stands_beside_those_that_came() {
        let mut edits = Edits::new();
        edits.add_response_header("Vary", "Origin");
        edits.add_response_header("Vary", "Accept");
        assert!(!edits.drops_response_header(b"vary") && !edits.keeps_response_headers());
        assert_eq!(edits.response_headers().count(), 2);
        edits.remove_response_header("vary");
        assert_eq!(edits.response_headers().count(), 0);
        assert!(edits.drops_response_header(b"Vary"));
    }
}
