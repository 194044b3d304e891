//! Request heads: parsed by `httparse`, then held to the rules that make their
//! framing and their target unambiguous.

use crate::body::{Body, content_length};
use crate::fields::{Field, has_token, tokens};
use crate::head::{check_lines, offset_of};
use crate::version::Version;
use httparse::{Header, Status};
use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::net::Ipv6Addr;
use tidegate_kit::DecodeError;
use tidegate_message::Limits;

/// A valid request head, borrowed from the bytes it was read from.
#[derive(Debug)]
pub struct RequestHead<'h, 'b> {
    /// Method, a token; case counts.
    pub method: &'b str,
    /// Path and query as sent; `*` for OPTIONS; absolute form is reduced to this.
    pub target: &'b [u8],
    /// Host and port as sent, of the absolute form or else of `Host`; empty only for HTTP/1.0.
    pub authority: &'b [u8],
    /// Version.
    pub version: Version,
    /// Header lines in the order they came.
    pub headers: &'h [Header<'b>],
    /// Bytes of the head, its empty line included.
    pub len: usize,
    /// How the body is framed.
    pub body: Body,
    /// Whether the connection may serve another request after this one.
    pub keep_alive: bool,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
    /// The `Upgrade` header, where `Connection` names it too.
    pub upgrade: Option<&'b [u8]>,
    /// `TE: trailers`.
    pub accepts_trailers: bool,
    /// Whether `Connection` names further headers, which must not go on.
    pub connection_names_headers: bool,
    /// The absolute form says `https`.
    pub wants_https: bool,
}

impl<'b> RequestHead<'_, 'b> {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// All lines of a list field as one (RFC 9110 section 5.3). `None`: there is none.
    pub fn list(&self, name: &str) -> Option<Cow<'b, [u8]>> {
        let mut lines = self.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        let first = lines.next()?.value;
        let mut more = lines.map(|header| header.value).peekable();
        if more.peek().is_none() {
            return Some(Cow::Borrowed(first));
        }
        let all: Vec<&[u8]> = std::iter::once(first).chain(more).collect();
        Some(Cow::Owned(all.join(&b", "[..])))
    }

    /// Path without the query.
    pub fn path(&self) -> &'b [u8] {
        let end = memchr::memchr(b'?', self.target).unwrap_or(self.target.len());
        &self.target[..end]
    }

    /// Query without `?`; empty where there is none.
    pub fn query(&self) -> &'b [u8] {
        memchr::memchr(b'?', self.target).map_or(&[], |at| &self.target[at + 1..])
    }

    /// Host without port, as sent.
    pub fn host(&self) -> &'b [u8] {
        let end = match memchr::memrchr(b':', self.authority) {
            // The colons of an IPv6 address stand before its bracket.
            Some(colon) if memchr::memchr(b']', &self.authority[colon..]).is_none() => colon,
            _ => self.authority.len(),
        };
        &self.authority[..end]
    }

    /// Whether repeating the request does no harm (RFC 9110 section 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self.method, "PUT" | "DELETE")
    }

    /// Whether it changes nothing (RFC 9110 section 9.2.1).
    pub fn is_safe(&self) -> bool {
        matches!(self.method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
    }
}

/// Reads a request head from the front of `input`. `Ok(None)`: it has not ended yet.
///
/// # Errors
/// With the status to answer: 400, 414, 431, 501 or 505. The connection closes.
pub fn parse_request<'h, 'b>(
    input: &'b [u8],
    limits: &Limits,
    headers: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Option<RequestHead<'h, 'b>>, DecodeError> {
    let empty_line = usize::from(input.starts_with(b"\r\n")) * 2;
    let bytes = &input[empty_line..];
    if matches!(bytes.first(), Some(b'\n' | b'\r')) && bytes != b"\r" {
        return Err(BAD_METHOD);
    }
    let mut request = httparse::Request::new(&mut []);
    let len = match request.parse_with_uninit_headers(bytes, headers) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(error) => return Err(refusal(error, bytes)),
    };
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version) else {
        return Err(BAD_METHOD);
    };
    let headers: &'h [Header<'b>] = request.headers;
    let head = &bytes[..len];
    check_lines(head, headers, limits)?;
    check_request_line(head, method, target)?;
    let mut parsed = RequestHead {
        method,
        target: target.as_bytes(),
        authority: b"",
        version: if minor == 0 { Version::Http10 } else { Version::Http11 },
        headers,
        len: len + empty_line,
        body: Body::None,
        keep_alive: minor == 1,
        expects_continue: false,
        upgrade: None,
        accepts_trailers: false,
        connection_names_headers: false,
        wants_https: false,
    };
    read_fields(&mut parsed)?;
    check_target(&mut parsed)?;
    Ok(Some(parsed))
}

fn read_fields(head: &mut RequestHead<'_, '_>) -> Result<(), DecodeError> {
    let (mut length, mut chunked, mut host, mut upgrade, mut names_upgrade) = (None, false, None, None, false);
    let (mut has_login, mut has_origin) = (false, false);
    for header in head.headers {
        match Field::of(header.name) {
            Field::ContentLength if length.is_some() => return Err(TWO_LENGTHS),
            Field::ContentLength => length = Some(content_length(header.value).ok_or(BAD_LENGTH)?),
            Field::TransferEncoding if chunked => return Err(BAD_ENCODING),
            Field::TransferEncoding => {
                if head.version == Version::Http10 {
                    return Err(ENCODING_IN_10);
                }
                if !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(if has_token(header.value, "chunked") { BAD_ENCODING } else { UNKNOWN_ENCODING });
                }
                chunked = true;
            }
            Field::Host if host.is_some() => return Err(TWO_HOSTS),
            Field::Host => host = Some(header.value),
            Field::Expect if header.value.eq_ignore_ascii_case(b"100-continue") => {
                head.expects_continue = head.version == Version::Http11;
            }
            Field::Expect => return Err(BAD_EXPECT),
            Field::Upgrade => upgrade = Some(header.value),
            Field::Authorization if std::mem::replace(&mut has_login, true) => return Err(TWO_LOGINS),
            Field::Origin if std::mem::replace(&mut has_origin, true) => return Err(TWO_ORIGINS),
            Field::Te => head.accepts_trailers |= has_token(header.value, "trailers"),
            Field::Connection => {
                for token in tokens(header.value) {
                    match token {
                        _ if token.eq_ignore_ascii_case(b"close") => head.keep_alive = false,
                        _ if token.eq_ignore_ascii_case(b"keep-alive") => {
                            head.keep_alive |= head.version == Version::Http10;
                        }
                        _ if token.eq_ignore_ascii_case(b"upgrade") => names_upgrade = true,
                        _ => head.connection_names_headers = true,
                    }
                }
            }
            Field::Other if header.name.len() == 14 && header.name.eq_ignore_ascii_case("content_length") => {
                return Err(BAD_LENGTH);
            }
            // Services behind CGI and its like read an underscore as a hyphen: for them it would frame the body.
            Field::Other if header.name.len() == 17 && header.name.eq_ignore_ascii_case("transfer_encoding") => {
                return Err(BAD_ENCODING);
            }
            Field::Authorization | Field::Origin | Field::Other => {}
        }
    }
    if chunked && length.is_some() {
        return Err(LENGTH_AND_ENCODING);
    }
    head.body = match (chunked, length) {
        (true, _) => Body::Chunked,
        (false, Some(0) | None) => Body::None,
        (false, Some(length)) => Body::Length(length),
    };
    if head.method == "TRACE" && head.body != Body::None {
        return Err(TRACE_BODY);
    }
    head.upgrade = upgrade.filter(|_| names_upgrade && head.version == Version::Http11);
    match host {
        Some(host) => head.authority = host,
        // RFC 9112 section 3.2: an HTTP/1.1 request without Host is refused.
        None if head.version == Version::Http11 => return Err(NO_HOST),
        None => {}
    }
    if valid_authority(head.authority) { Ok(()) } else { Err(BAD_HOST) }
}

/// Reduces the absolute form to origin form and refuses every other shape.
fn check_target(head: &mut RequestHead<'_, '_>) -> Result<(), DecodeError> {
    let target = head.target;
    match target {
        _ if head.method == "CONNECT" => Err(CONNECT_OFF),
        [b'/', ..] => Ok(()),
        b"*" if head.method == "OPTIONS" => Ok(()),
        _ => {
            let rest = strip_scheme(target).ok_or(BAD_TARGET)?;
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            if authority.is_empty() || !valid_authority(authority) || path.first() == Some(&b'?') {
                return Err(BAD_TARGET);
            }
            head.wants_https = target[4].eq_ignore_ascii_case(&b's');
            // RFC 3986 section 6.2.3: no port, an empty one and the scheme's own are the same.
            let port: &[u8] = if head.wants_https { b":443" } else { b":80" };
            let asked = without_port(authority, port);
            if !head.authority.is_empty() && !without_port(head.authority, port).eq_ignore_ascii_case(asked) {
                return Err(HOST_MISMATCH);
            }
            head.authority = authority;
            head.target = if path.is_empty() { b"/" } else { path };
            Ok(())
        }
    }
}

fn without_port<'a>(authority: &'a [u8], port: &[u8]) -> &'a [u8] {
    authority.strip_suffix(port).or_else(|| authority.strip_suffix(b":")).unwrap_or(authority)
}

fn strip_scheme(target: &[u8]) -> Option<&[u8]> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme.as_bytes()).then_some(rest)
    })
}

/// `httparse` lets odd bytes into a target and takes any token as method.
fn check_request_line(head: &[u8], method: &str, target: &str) -> Result<(), DecodeError> {
    // RFC 9112 section 3: single spaces, so the target starts right behind the method.
    if offset_of(head, method.as_bytes()) != 0 || offset_of(head, target.as_bytes()) != method.len() + 1 {
        return Err(BAD_METHOD);
    }
    if method.len() > 32 || !method.bytes().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_')) {
        return Err(BAD_METHOD);
    }
    // RFC 3986 wants most of these escaped, and browsers (the URL standard) send them as they are: `|` and `^`
    // anywhere, the others in a query.
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    let fits = |text: &str, also: &[u8]| {
        text.bytes().all(|byte| {
            byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'<' | b'>' | b'\\' | b'`' | b'{' | b'}')
                || also.contains(&byte)
        })
    };
    if fits(path, b"") && fits(query, b"\\`{}") { Ok(()) } else { Err(BAD_TARGET) }
}

/// RFC 3986 section 3.2 without userinfo: reg-name, IPv4 or bracketed IPv6, then a port.
fn valid_authority(authority: &[u8]) -> bool {
    let (host, port) = match authority {
        [b'[', rest @ ..] => {
            let Some(end) = memchr::memchr(b']', rest) else { return false };
            if !std::str::from_utf8(&rest[..end]).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()) {
                return false;
            }
            (&b"v6"[..], &rest[end + 1..])
        }
        _ => {
            let colon = memchr::memchr(b':', authority).unwrap_or(authority.len());
            authority.split_at(colon)
        }
    };
    let host_ok = host.iter().all(|byte| {
        byte.is_ascii_alphanumeric()
            || matches!(
                byte,
                b'-' | b'.' | b'_' | b'~' | b'%' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'='
            )
    });
    let port_ok = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_ok && is_escaped(host) && port_ok && (!host.is_empty() || authority.is_empty())
}

/// Whether each `%` begins an escape (RFC 3986 section 2.1).
fn is_escaped(host: &[u8]) -> bool {
    let escape = |rest: &[u8]| rest.first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    host.split(|byte| *byte == b'%').skip(1).all(escape)
}

fn refusal(error: httparse::Error, bytes: &[u8]) -> DecodeError {
    match error {
        httparse::Error::TooManyHeaders => crate::head::TOO_LARGE,
        httparse::Error::Version if names_a_version(bytes) => {
            DecodeError::close(505, "RFC 9112 section 2.3", "the version is not HTTP/1.0 or HTTP/1.1")
        }
        httparse::Error::HeaderName => {
            DecodeError::close(400, "RFC 9112 section 5.1", "a header name is not a token, or a line is folded")
        }
        httparse::Error::HeaderValue => {
            DecodeError::close(400, "RFC 9110 section 5.5", "a header value holds a control character")
        }
        httparse::Error::NewLine => DecodeError::close(400, "RFC 9112 section 2.2", "a line does not end in CR LF"),
        _ => BAD_METHOD,
    }
}

/// Whether the request line ends in a version, only one that is not ours.
fn names_a_version(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    matches!(words[..], [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]] if major.is_ascii_digit() && minor.is_ascii_digit())
}

const BAD_METHOD: DecodeError = DecodeError::close(400, "RFC 9112 section 3", "the request line is malformed");
const BAD_TARGET: DecodeError = DecodeError::close(400, "RFC 9112 section 3.2", "the request target is malformed");
const CONNECT_OFF: DecodeError = DecodeError::close(405, "RFC 9110 section 9.3.6", "CONNECT is not offered");
const TRACE_BODY: DecodeError = DecodeError::close(400, "RFC 9110 section 9.3.8", "a TRACE request has a body");
// No lists (RFC 9110 section 5.3): who checks one of them must not send on another one.
const TWO_LOGINS: DecodeError =
    DecodeError::close(400, "RFC 9110 section 11.6.2", "there is more than one Authorization header");
const TWO_ORIGINS: DecodeError =
    DecodeError::close(400, "RFC 6454 section 7.3", "there is more than one Origin header");
const NO_HOST: DecodeError = DecodeError::close(400, "RFC 9112 section 3.2", "there is no Host header");
const TWO_HOSTS: DecodeError = DecodeError::close(400, "RFC 9112 section 3.2", "there is more than one Host header");
const BAD_HOST: DecodeError = DecodeError::close(400, "RFC 9112 section 3.2", "the Host header is malformed");
const HOST_MISMATCH: DecodeError =
    DecodeError::close(400, "RFC 9112 section 3.2.2", "the absolute target and Host name different hosts");
const TWO_LENGTHS: DecodeError =
    DecodeError::close(400, "RFC 9112 section 6.3", "there is more than one Content-Length");
const BAD_LENGTH: DecodeError =
    DecodeError::close(400, "RFC 9112 section 6.3", "Content-Length is not a decimal number");
const LENGTH_AND_ENCODING: DecodeError =
    DecodeError::close(400, "RFC 9112 section 6.1", "Content-Length and Transfer-Encoding stand together");
const BAD_ENCODING: DecodeError =
    DecodeError::close(400, "RFC 9112 section 6.1", "Transfer-Encoding is not exactly one chunked");
const UNKNOWN_ENCODING: DecodeError =
    DecodeError::close(501, "RFC 9112 section 6.1", "the transfer coding is not known");
const ENCODING_IN_10: DecodeError =
    DecodeError::close(400, "RFC 9112 section 6.1", "Transfer-Encoding in an HTTP/1.0 request");
const BAD_EXPECT: DecodeError = DecodeError::close(417, "RFC 9110 section 10.1.1", "the expectation is not known");
