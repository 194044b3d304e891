//! A request's head, or trailers, out of its fields and as HTTP/1.1 says it (RFC 9113 section 8). What the two
//! read differently is malformed: a request means the same to every hop. What HTTP/1.1 has rules of its own for,
//! a fragment or no `Host` at all, is left to them.

use crate::hpack::TakeField;
use std::ops::Range;

/// Fields of one head.
const FIELDS_MAX: usize = 128;
/// What a field costs besides its texts (section 6.5.2).
const FIELD: usize = 32;

/// What octets may stand in.
const NAME: u8 = 1;
const TOKEN: u8 = 2;
const VALUE: u8 = 4;
/// Neither a control character nor a space.
const VISIBLE: u8 = 8;

#[rustfmt::skip]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let byte = octet as u8;
        let token = byte.is_ascii_alphanumeric()
            || matches!(byte, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~');
        let value = byte == b'\t' || byte >= b' ' && byte != 0x7f;
        let name = if token && !byte.is_ascii_uppercase() { NAME } else { 0 };
        let visible = if byte > b' ' && byte != 0x7f { VISIBLE } else { 0 };
        classes[octet] = name | if token { TOKEN } else { 0 } | if value { VALUE } else { 0 } | visible;
        octet += 1;
    }
    classes
};

fn all(bytes: &[u8], class: u8) -> bool {
    bytes.iter().fold(class, |left, byte| left & CLASSES[usize::from(*byte)]) == class
}

/// Whether a field may have that name.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && all(name, NAME)
}

/// Whether a field may have that value (section 8.2.1).
pub(crate) fn is_value(value: &[u8]) -> bool {
    let is_blank = |octet: Option<&u8>| matches!(octet, Some(b' ' | b'\t'));
    all(value, VALUE) && !is_blank(value.first()) && !is_blank(value.last())
}

/// Whether a part of a target can be told on at all; more is for the rules of HTTP/1.1.
fn is_target(value: &[u8]) -> bool {
    all(value, VISIBLE) && (value.is_ascii() || std::str::from_utf8(value).is_ok())
}

/// RFC 3986 section 3.1.
fn is_of_scheme(octet: &u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.')
}

/// How far a head is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Part {
    /// Pseudo-header fields come.
    #[default]
    Pseudo,
    Fields,
    Trailers,
}

/// Why there is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    Malformed,
    /// More fields, or longer ones, than a head may have.
    TooLarge,
}

/// Pseudo-header fields that came.
const METHOD: u8 = 1;
const SCHEME: u8 = 2;
const PATH: u8 = 4;
const AUTHORITY: u8 = 8;
const PROTOCOL: u8 = 16;

/// How much of a head came, and how much may (section 6.5.2).
#[derive(Default, Debug)]
pub(crate) struct Size {
    max: usize,
    octets: usize,
    fields: usize,
}

impl Size {
    pub(crate) const fn of(max: usize) -> Size {
        Size { max, octets: 0, fields: 0 }
    }

    /// Whether one more may come.
    pub(crate) const fn take(&mut self, name: &[u8], value: &[u8]) -> bool {
        self.fields += 1;
        self.octets += name.len() + value.len() + FIELD;
        self.octets <= self.max && self.fields <= FIELDS_MAX
    }
}

/// Whether a message may have that field (section 8.2): its texts are sound, and it is not a connection's own.
pub(crate) fn is_of_a_message(name: &[u8], value: &[u8]) -> bool {
    let is_foreign = match name {
        b"connection" | b"transfer-encoding" | b"upgrade" | b"keep-alive" | b"proxy-connection" => true,
        b"te" => value != b"trailers",
        _ => false,
    };
    !is_foreign && is_name(name) && is_value(value)
}

/// What a `content-length` says.
pub(crate) fn length_of(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.len() < 20 && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// Pseudo-header fields of a request that is written (section 8.3.1, RFC 8441).
#[derive(Clone, Copy, Debug)]
pub struct Target<'r> {
    /// A token.
    pub method: &'r [u8],
    /// Of HTTP.
    pub scheme: &'r [u8],
    /// HOST\[:PORT\].
    pub authority: &'r [u8],
    /// With the query; `*` for OPTIONS of no resource.
    pub path: &'r [u8],
    /// Of an extended CONNECT.
    pub protocol: Option<&'r [u8]>,
}

impl Target<'_> {
    /// Whether HTTP/2 can say it.
    pub(crate) fn is_fine(&self) -> bool {
        let is_authority = !self.authority.is_empty() && !self.authority.iter().any(|octet| b"/?#@".contains(octet));
        let is_path = self.path.first() == Some(&b'/') || self.path == b"*";
        let is_method = !self.method.is_empty() && all(self.method, TOKEN);
        is_method && is_authority && is_path && is_target(self.authority) && is_target(self.path)
    }
}

/// A request's head while it is read, and what it came to. One serves all requests of a connection.
#[derive(Default, Debug)]
pub struct RequestHead {
    /// The request line and the fields, without the empty line behind them. Of trailers: the lines.
    pub text: Vec<u8>,
    method: Vec<u8>,
    path: Vec<u8>,
    authority: Vec<u8>,
    protocol: Vec<u8>,
    /// Crumbs of the cookie (section 8.2.3).
    cookie: Vec<u8>,
    marks: Marks,
}

/// What is found while a head is read.
#[derive(Default, Debug)]
struct Marks {
    pseudo: u8,
    part: Part,
    /// The scheme is not one of HTTP.
    is_foreign: bool,
    is_https: bool,
    has_host: bool,
    has_cookie: bool,
    has_key: bool,
    content_type: Range<usize>,
    grpc_timeout: Range<usize>,
    length: Option<u64>,
    size: Size,
    refusal: Option<Refusal>,
}

/// What is asked for.
impl RequestHead {
    /// Whether the method is HEAD.
    pub fn is_head(&self) -> bool {
        self.method == b"HEAD"
    }

    /// What an extended CONNECT wants to speak (RFC 8441): `text` has GET then.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.has(PROTOCOL).then_some(&self.protocol)
    }

    /// Whether it has a `sec-websocket-key`, which has no place here.
    pub const fn has_websocket_key(&self) -> bool {
        self.marks.has_key
    }

    /// What `content-length` says.
    pub const fn content_length(&self) -> Option<u64> {
        self.marks.length
    }

    /// The value of the first `content-type`, or nothing.
    pub fn content_type(&self) -> &[u8] {
        &self.text[self.marks.content_type.clone()]
    }

    /// The value of the first `grpc-timeout`, or nothing.
    pub fn grpc_timeout(&self) -> &[u8] {
        &self.text[self.marks.grpc_timeout.clone()]
    }
}

/// While it is read.
impl RequestHead {
    /// A request's fields come; all of them may have so many octets (section 6.5.2).
    pub(crate) fn begin(&mut self, size_max: usize) {
        for text in [&mut self.text, &mut self.method, &mut self.path, &mut self.authority, &mut self.protocol] {
            text.clear();
        }
        self.cookie.clear();
        self.marks = Marks { size: Size::of(size_max), ..Marks::default() };
    }

    /// Trailers come.
    pub(crate) fn begin_trailers(&mut self, size_max: usize) {
        self.begin(size_max);
        self.marks.part = Part::Trailers;
    }

    /// All fields came.
    ///
    /// # Errors
    /// There is nothing to be done with them.
    pub(crate) fn finish(&mut self, ends: bool) -> Result<(), Refusal> {
        if self.marks.part == Part::Pseudo {
            self.request_line();
        }
        if self.marks.has_cookie {
            put(&mut self.text, &[b"cookie: ", &self.cookie, b"\r\n"]);
        }
        // Section 8.1.1: nothing is as long as that.
        if ends && self.marks.length.is_some_and(|length| length > 0) {
            self.is_malformed();
        }
        match self.marks.refusal {
            None => Ok(()),
            Some(refusal) => Err(refusal),
        }
    }

    /// Lets go of what large heads needed.
    pub(crate) fn rest(&mut self) {
        *self = RequestHead::default();
    }

    const fn has(&self, pseudo: u8) -> bool {
        self.marks.pseudo & pseudo == pseudo
    }

    fn is_malformed(&mut self) {
        self.marks.refusal.get_or_insert(Refusal::Malformed);
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) {
        let (mark, text, is_fine) = match name {
            b":method" => (METHOD, &mut self.method, !value.is_empty() && all(value, TOKEN)),
            b":path" => (PATH, &mut self.path, is_target(value)),
            b":authority" => (AUTHORITY, &mut self.authority, !value.is_empty() && is_target(value)),
            b":protocol" => (PROTOCOL, &mut self.protocol, !value.is_empty() && all(value, TOKEN)),
            b":scheme" => {
                self.marks.is_https = value.eq_ignore_ascii_case(b"https");
                self.marks.is_foreign = !self.marks.is_https && !value.eq_ignore_ascii_case(b"http");
                (SCHEME, &mut Vec::new(), value.iter().all(is_of_scheme))
            }
            _ => return self.is_malformed(),
        };
        text.extend_from_slice(value);
        if !is_fine || self.has(mark) || self.marks.part != Part::Pseudo {
            self.is_malformed();
        }
        self.marks.pseudo |= mark;
    }

    /// Section 8.3.1, for CONNECT section 8.5 and RFC 8441 section 4.
    fn request_line(&mut self) {
        self.marks.part = Part::Fields;
        let is_connect = self.method == b"CONNECT";
        let is_tunnel = self.has(PROTOCOL);
        let is_fine = match (is_connect, is_tunnel) {
            (true, false) => self.marks.pseudo == METHOD | AUTHORITY,
            (true, true) => self.has(METHOD | SCHEME | PATH | AUTHORITY),
            (false, true) => false,
            (false, false) => self.has(METHOD | SCHEME | PATH),
        };
        // Whatever has a path has all of it: an address in its place would name another host.
        let has_path = self.path.starts_with(b"/") || self.path == b"*";
        if !is_fine || self.has(PATH) && !has_path {
            return self.is_malformed();
        }
        let method: &[u8] = if is_tunnel { b"GET" } else { &self.method };
        let target = if is_connect && !is_tunnel { &self.authority } else { &self.path };
        // A scheme that is not of HTTP would be refused by its absolute form; a fragment is, too.
        let foreign: &[u8] = if self.marks.is_foreign { b"#" } else { b"" };
        put(&mut self.text, &[method, b" ", target, foreign, b" HTTP/1.1\r\n"]);
        if self.has(AUTHORITY) {
            put(&mut self.text, &[b"host: ", &self.authority, b"\r\n"]);
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8]) {
        if !is_of_a_message(name, value) {
            return self.is_malformed();
        }
        match name {
            _ if self.marks.part == Part::Trailers => {}
            b"host" => return self.host(value),
            b"cookie" => {
                let separator: &[u8] = if self.marks.has_cookie { b"; " } else { b"" };
                put(&mut self.cookie, &[separator, value]);
                self.marks.has_cookie = true;
                return;
            }
            b"content-length" => self.length(value),
            b"sec-websocket-key" => self.marks.has_key = true,
            _ => {}
        }
        put(&mut self.text, &[name, b": ", value, b"\r\n"]);
        let place = match name {
            b"content-type" => &mut self.marks.content_type,
            b"grpc-timeout" => &mut self.marks.grpc_timeout,
            _ => return,
        };
        if *place == (0..0) {
            let end = self.text.len() - 2;
            *place = end - value.len()..end;
        }
    }

    /// `Host` and `:authority` must not differ, but for the scheme's own port, and there are no two of them
    /// (section 8.3.1).
    fn host(&mut self, value: &[u8]) {
        let is_second = std::mem::replace(&mut self.marks.has_host, true);
        let port: &[u8] = if self.marks.is_https { b":443" } else { b":80" };
        let is_same = without_port(&self.authority, port).eq_ignore_ascii_case(without_port(value, port));
        if is_second || self.has(AUTHORITY) && !is_same {
            return self.is_malformed();
        }
        if !self.has(AUTHORITY) {
            put(&mut self.text, &[b"host: ", value, b"\r\n"]);
        }
    }

    fn length(&mut self, value: &[u8]) {
        match length_of(value) {
            // Whether there may be several is for the rules of HTTP/1.1.
            Some(length) => _ = self.marks.length.get_or_insert(length),
            None => self.is_malformed(),
        }
    }
}

fn without_port<'a>(authority: &'a [u8], port: &[u8]) -> &'a [u8] {
    authority.strip_suffix(port).or_else(|| authority.strip_suffix(b":")).unwrap_or(authority)
}

impl TakeField for RequestHead {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        let marks = &mut self.marks;
        if !marks.size.take(name, value) {
            marks.refusal = Some(Refusal::TooLarge);
        }
        if marks.refusal.is_some() {
            return;
        }
        if name.first() == Some(&b':') {
            return self.pseudo(name, value);
        }
        if self.marks.part == Part::Pseudo {
            self.request_line();
        }
        self.field(name, value);
    }
}

pub(crate) fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}
