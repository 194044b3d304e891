//! Whom a request to a forward proxy is for (RFC 7252 sections 5.7.2 and 5.10.2): the URI
//! of Proxy-Uri, or of Proxy-Scheme and the Uri options, as the options that an ordinary
//! request has (section 6.4). Knows nothing of who may be asked.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr};

use crate::{Head, Message, OptionList, OptionNumber, Transport, encode, encode_frame};

/// Longest value of a host, path or query option.
const OPTION_MAX: usize = 255;

/// The schemes that can be asked, and their ports (RFC 7252 section 6, RFC 8323 section 8).
const SCHEMES: [(&str, u16); 8] = [
    ("coap", 5_683),
    ("coaps", 5_684),
    ("coap+tcp", 5_683),
    ("coaps+tcp", 5_684),
    ("coap+ws", 80),
    ("coaps+ws", 443),
    ("http", 80),
    ("https", 443),
];

/// Why a request has no destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoDestination {
    /// A scheme that nobody here speaks: 5.05.
    Scheme,
    /// No absolute URI; what is wrong with it: 4.02, as the option is critical.
    Malformed(&'static str),
}

/// Whom a request is for, and the request with the options of an ordinary one.
#[derive(Clone, Debug)]
pub struct Destination {
    /// In lower case.
    pub scheme: &'static str,
    /// In lower case, without escapes; an IPv6 address in brackets. `None`: whoever was sent the request.
    pub host: Option<Box<[u8]>>,
    /// `None`: the request says none.
    pub port: Option<u16>,
    options: OptionList,
}

impl Message<'_> {
    /// Whether it is for a forward proxy.
    pub fn is_proxied(&self) -> bool {
        self.option(OptionNumber::PROXY_URI).or(self.option(OptionNumber::PROXY_SCHEME)).is_some()
    }

    /// Whom a request to a forward proxy is for.
    ///
    /// # Errors
    /// It is malformed, or of a scheme that cannot be asked.
    pub fn destination(&self) -> Result<Destination, NoDestination> {
        match self.option(OptionNumber::PROXY_URI) {
            Some(uri) => self.destination_of(uri.value),
            None => self.destination_of_options(),
        }
    }

    /// Section 5.10.2: takes precedence over whatever else names a resource.
    fn destination_of(&self, uri: &[u8]) -> Result<Destination, NoDestination> {
        let colon = uri.iter().position(|byte| *byte == b':').ok_or(NoDestination::Malformed("no scheme"))?;
        let (scheme, standard) = scheme_of(&uri[..colon])?;
        let rest = uri[colon + 1..].strip_prefix(b"//").ok_or(NoDestination::Malformed("no authority"))?;
        if rest.contains(&b'#') {
            return Err(NoDestination::Malformed("a fragment"));
        }
        let (rest, query) = split_at(rest, b'?');
        let end = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = authority_of(authority)?;
        let mut destination = Destination {
            scheme,
            host: Some(host),
            port: Some(port.unwrap_or(standard)),
            options: self.other_options(),
        };
        destination.put_authority(standard);
        for segment in resolved(path) {
            destination.put_part(OptionNumber::URI_PATH, segment, b"")?;
        }
        for parameter in query.into_iter().flat_map(|query| query.split(|byte| *byte == b'&')) {
            destination.put_part(OptionNumber::URI_QUERY, parameter, b"/?")?;
        }
        Ok(destination)
    }

    fn destination_of_options(&self) -> Result<Destination, NoDestination> {
        let text = self.option(OptionNumber::PROXY_SCHEME).map(|option| option.value);
        let (scheme, standard) = scheme_of(text.unwrap_or_default())?;
        let host = self.host().map(|host| literal(host).unwrap_or_else(|| host.to_ascii_lowercase().into()));
        let port = self.option(OptionNumber::URI_PORT).and_then(|option| option.uint());
        let port = port.map(|port| u16::try_from(port).ok().filter(|port| *port > 0));
        if port == Some(None) {
            return Err(NoDestination::Malformed("no such port"));
        }
        let mut destination = Destination { scheme, host, port: port.flatten(), options: self.other_options() };
        destination.put_authority(standard);
        let of_resource = |number| matches!(number, OptionNumber::URI_PATH | OptionNumber::URI_QUERY);
        for option in self.options().filter(|option| of_resource(option.number)) {
            destination.options.push(option.number, option.value);
        }
        Ok(destination)
    }

    /// What does not name the resource.
    fn other_options(&self) -> OptionList {
        let names = |number| {
            matches!(
                number,
                OptionNumber::PROXY_URI
                    | OptionNumber::PROXY_SCHEME
                    | OptionNumber::URI_HOST
                    | OptionNumber::URI_PORT
                    | OptionNumber::URI_PATH
                    | OptionNumber::URI_QUERY
            )
        };
        let mut options = OptionList::new();
        for option in self.options().filter(|option| !names(option.number)) {
            options.push(option.number, option.value);
        }
        options
    }

    /// The request as it would have come to its destination, over `transport`. Proxy-Scheme
    /// stays, so that it goes on to be known for one that is to be forwarded; unless it is
    /// `local`, for whoever was sent it (section 5.7.2).
    pub fn redirected(&self, transport: Transport, destination: &Destination, local: bool) -> Vec<u8> {
        let (mut added, mut out) = (OptionList::new(), Vec::new());
        if !local {
            added.push(OptionNumber::PROXY_SCHEME, destination.scheme.as_bytes());
        }
        let options = [&destination.options, &added];
        if transport == Transport::Datagram {
            let head = Head { kind: self.kind, code: self.code, message_id: self.message_id, token: self.token };
            encode(&mut out, &head, options, self.payload);
        } else {
            encode_frame(&mut out, (transport, self.code, self.token), options, self.payload);
        }
        out
    }
}

impl Destination {
    /// The host as an address, where it is one.
    pub fn address(&self) -> Option<IpAddr> {
        let text = std::str::from_utf8(self.host.as_deref()?).ok()?;
        let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        inner.unwrap_or(text).parse().ok()
    }

    fn put_authority(&mut self, standard: u16) {
        if let Some(host) = &self.host {
            self.options.push(OptionNumber::URI_HOST, host);
        }
        if let Some(port) = self.port.filter(|port| *port != standard) {
            self.options.push_uint(OptionNumber::URI_PORT, u32::from(port));
        }
    }

    /// Section 6.4, steps 8 and 9: each part by itself, its escapes undone.
    fn put_part(&mut self, number: u16, part: &[u8], also: &[u8]) -> Result<(), NoDestination> {
        let value = decoded(part, |byte| is_pchar(byte) || also.contains(&byte))?;
        // Section 5.10.1: a path option is never a dot segment, not even an escaped one.
        if number == OptionNumber::URI_PATH && matches!(&*value, b"." | b"..") {
            return Err(NoDestination::Malformed("an escaped dot segment"));
        }
        if value.len() > OPTION_MAX {
            return Err(NoDestination::Malformed("a part longer than 255 bytes"));
        }
        self.options.push(number, &value);
        Ok(())
    }
}

fn scheme_of(text: &[u8]) -> Result<(&'static str, u16), NoDestination> {
    let is_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    if !text.first().is_some_and(u8::is_ascii_alphabetic) || !text.iter().all(is_scheme) {
        return Err(NoDestination::Malformed("no scheme"));
    }
    let known = SCHEMES.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text));
    known.copied().ok_or(NoDestination::Scheme)
}

fn split_at(text: &[u8], mark: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == mark) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Section 6.1: a host and perhaps a port. There is no userinfo, and the host is not empty.
fn authority_of(authority: &[u8]) -> Result<(Box<[u8]>, Option<u16>), NoDestination> {
    let no_host = NoDestination::Malformed("no host");
    let (host, port) = match authority.first() {
        Some(b'[') => {
            let end = authority.iter().position(|byte| *byte == b']').ok_or(no_host)?;
            let host = literal(&authority[..=end]).ok_or(no_host)?;
            (host, authority[end + 1..].strip_prefix(b":").map_or_else(|| end_of(&authority[end + 1..]), Ok)?)
        }
        _ => {
            let (host, port) = split_at(authority, b':');
            let host = decoded(host, is_reg_name)?.to_ascii_lowercase();
            if host.is_empty() || host.len() > OPTION_MAX {
                return Err(no_host);
            }
            (host.into(), port.unwrap_or_default())
        }
    };
    if port.is_empty() {
        return Ok((host, None));
    }
    let digits = std::str::from_utf8(port).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|port| *port > 0);
    number.map(|port| (host, Some(port))).ok_or(NoDestination::Malformed("no such port"))
}

fn end_of(rest: &[u8]) -> Result<&[u8], NoDestination> {
    if rest.is_empty() { Ok(rest) } else { Err(NoDestination::Malformed("no host")) }
}

/// An IPv6 address in brackets, in its one spelling.
fn literal(host: &[u8]) -> Option<Box<[u8]>> {
    let inner = host.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let address: Ipv6Addr = std::str::from_utf8(inner).ok()?.parse().ok()?;
    Some(format!("[{address}]").into_bytes().into())
}

/// The segments of a path, dot segments resolved (RFC 3986 section 5.2.4); none for the root.
fn resolved(path: &[u8]) -> Vec<&[u8]> {
    let Some(path) = path.strip_prefix(b"/").filter(|path| !path.is_empty()) else { return Vec::new() };
    let mut segments = Vec::new();
    let mut parts = path.split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            b"." | b".." => {
                if part == b".." {
                    segments.pop();
                }
                if is_last && !segments.is_empty() {
                    segments.push(&b""[..]);
                }
            }
            part => segments.push(part),
        }
    }
    // What is left of `/a/..` is the root, which has no segment (section 6.4).
    if segments == [b""] { Vec::new() } else { segments }
}

/// A part without its escapes, where each byte of it is one that may stand there as it is.
fn decoded(part: &[u8], is_plain: impl Fn(u8) -> bool) -> Result<Cow<'_, [u8]>, NoDestination> {
    if part.iter().all(|byte| is_plain(*byte)) {
        return Ok(Cow::Borrowed(part));
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16)).map(|digit| digit as u8);
    let mut out = Vec::with_capacity(part.len());
    let mut bytes = part.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => match (digit(bytes.next()), digit(bytes.next())) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(NoDestination::Malformed("a broken escape")),
            },
            byte if is_plain(*byte) => *byte,
            _ => return Err(NoDestination::Malformed("a byte that has no place in a URI")),
        });
    }
    Ok(Cow::Owned(out))
}

/// `unreserved` and `sub-delims` of RFC 3986 section 2.
const fn is_reg_name(byte: u8) -> bool {
    let is_delimiter = matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=');
    byte.is_ascii_alphanumeric() || is_delimiter || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn is_pchar(byte: u8) -> bool {
    is_reg_name(byte) || matches!(byte, b':' | b'@')
}
