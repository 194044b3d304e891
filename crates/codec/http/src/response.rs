//! Response heads from upstreams. An upstream that frames ambiguously is as
//! dangerous as a client that does: its answer is refused (502), its socket closed.

use crate::body::{Body, content_length};
use crate::fields::{Field, has_token, tokens};
use crate::head::{check_lines, offset_of};
use crate::version::Version;
use httparse::{Header, Status};
use std::mem::MaybeUninit;
use tidegate_kit::DecodeError;
use tidegate_message::Limits;

/// A valid response head, borrowed from the bytes it was read from.
#[derive(Debug)]
pub struct ResponseHead<'h, 'b> {
    /// Status code, 100 to 999.
    pub status: u16,
    /// Reason phrase, possibly empty.
    pub reason: &'b str,
    /// Header lines in the order they came.
    pub headers: &'h [Header<'b>],
    /// Bytes of the head, its empty line included.
    pub len: usize,
    /// How the body is framed.
    pub body: Body,
    /// Whether the upstream connection may be used again.
    pub keep_alive: bool,
    /// Whether a header must not go on as it came.
    pub has_hop_by_hop: bool,
    /// Whether `Connection` names further headers, which must not go on.
    pub connection_names_headers: bool,
    /// The version it came with.
    pub version: Version,
}

/// Reads a response head from the front of `input`; `to_head`: the request was HEAD.
/// `Ok(None)`: it has not ended yet.
///
/// # Errors
/// 502 in every case: the upstream broke the protocol.
pub fn parse_response<'h, 'b>(
    input: &'b [u8],
    limits: &Limits,
    to_head: bool,
    headers: &'h mut [MaybeUninit<Header<'b>>],
) -> Result<Option<ResponseHead<'h, 'b>>, DecodeError> {
    // RFC 9112 section 2.2: empty lines are passed over before requests. Ours would go on in front of the answer.
    if matches!(input.first(), Some(b'\r' | b'\n')) {
        return Err(MALFORMED);
    }
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    // RFC 9112 section 5.1: space in front of a colon is taken out of an answer, where it is 400 in a request.
    config.allow_spaces_after_header_name_in_responses(true);
    let parsed = config.parse_response_with_uninit_headers(&mut response, input, headers);
    let len = match parsed {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) if input.len() > limits.header_total => return Err(MALFORMED),
        Ok(Status::Partial) => return Ok(None),
        Err(_) => return Err(MALFORMED),
    };
    let (Some(status), Some(reason), Some(minor)) = (response.code, response.reason, response.version) else {
        return Err(MALFORMED);
    };
    let headers: &'h [Header<'b>] = response.headers;
    check_lines(&input[..len], headers, limits).map_err(|_| MALFORMED)?;
    if status < 100 {
        return Err(MALFORMED);
    }
    let mut head = ResponseHead {
        status,
        reason,
        headers,
        len,
        body: Body::UntilClose,
        keep_alive: minor == 1,
        has_hop_by_hop: false,
        connection_names_headers: false,
        version: if minor == 0 { Version::Http10 } else { Version::Http11 },
    };
    // RFC 9112 section 4: the space in front of the reason is there without one, too.
    head.has_hop_by_hop = input.get(12) == Some(&b'\r') || headers.iter().any(|header| has_space(input, header));
    read_fields(&mut head)?;
    // RFC 9112 section 6.3, rule 1: these have no body whatever their headers say.
    if to_head || status < 200 || status == 204 || status == 304 {
        head.body = Body::None;
    }
    if head.body == Body::UntilClose {
        head.keep_alive = false;
    }
    Ok(Some(head))
}

fn read_fields(head: &mut ResponseHead<'_, '_>) -> Result<(), DecodeError> {
    let (mut length, mut chunked) = (None, false);
    for header in head.headers {
        match Field::of(header.name) {
            Field::ContentLength => {
                let found = content_length(header.value).ok_or(FRAMING)?;
                if length.is_some() {
                    return Err(FRAMING);
                }
                length = Some(found);
                head.has_hop_by_hop |= head.has_no_length();
            }
            Field::TransferEncoding => {
                if chunked || head.version == Version::Http10 || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(FRAMING);
                }
                (chunked, head.has_hop_by_hop) = (true, true);
            }
            Field::Connection => {
                head.has_hop_by_hop = true;
                for token in tokens(header.value) {
                    if token.eq_ignore_ascii_case(b"close") {
                        head.keep_alive = false;
                    } else if token.eq_ignore_ascii_case(b"keep-alive") {
                        head.keep_alive |= head.version == Version::Http10;
                    } else {
                        head.connection_names_headers = true;
                    }
                }
            }
            Field::Upgrade => head.has_hop_by_hop = true,
            Field::Other if header.name.len() == 10 && header.name.eq_ignore_ascii_case("keep-alive") => {
                head.has_hop_by_hop = true;
            }
            _ if has_proxy_prefix(header.name) => head.has_hop_by_hop = true,
            _ => {}
        }
    }
    head.body = match (chunked, length) {
        (true, Some(_)) => return Err(FRAMING),
        (true, None) => Body::Chunked,
        (false, Some(0)) => Body::None,
        (false, Some(length)) => Body::Length(length),
        (false, None) => Body::UntilClose,
    };
    Ok(())
}

/// Whether a name does not end at its colon.
fn has_space(input: &[u8], header: &Header<'_>) -> bool {
    input.get(offset_of(input, header.name.as_bytes()) + header.name.len()) != Some(&b':')
}

fn has_proxy_prefix(name: &str) -> bool {
    name.get(..6).is_some_and(|prefix| prefix.eq_ignore_ascii_case("proxy-"))
}

impl<'b> ResponseHead<'_, 'b> {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// Whether a length has no place in it, though it may have come with one (RFC 9110 section 8.6).
    pub(crate) const fn has_no_length(&self) -> bool {
        self.status < 200 || self.status == 204
    }

    /// Whether a `Connection` header names this one.
    pub fn connection_names(&self, name: &str) -> bool {
        self.connection_names_headers
            && !name.eq_ignore_ascii_case("content-length")
            && self
                .headers
                .iter()
                .any(|header| Field::of(header.name) == Field::Connection && has_token(header.value, name))
    }
}

const MALFORMED: DecodeError =
    DecodeError::close(502, "RFC 9112 section 4", "the upstream's response head is malformed");
const FRAMING: DecodeError =
    DecodeError::close(502, "RFC 9112 section 6.3", "the upstream's response is framed ambiguously");
