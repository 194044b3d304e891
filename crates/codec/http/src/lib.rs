//! HTTP/1.1 framing (RFC 9112) on `httparse`: request and response heads, body
//! framing, chunked bodies, and the writing of heads. Strict where a lenient
//! reading is how requests are smuggled. No I/O; everything borrows its input.
#![forbid(unsafe_code)]

mod body;
mod certificate;
mod chunked;
mod coding;
mod conditions;
mod date;
mod fields;
mod forward;
mod head;
mod range;
mod request;
mod response;
mod status;
mod version;

pub use body::{Body, BodyReader, Piece};
pub use certificate::CertificateHeader;
pub use chunked::{put_chunk, put_last_chunk};
pub use coding::{Coding, preferred_coding};
pub use conditions::{Condition, Conditions, Validators};
pub use date::{HTTP_DATE_LEN, http_date, parse_http_date};
pub use fields::{Field, FieldClass, classify, has_token, tokens};
pub use forward::{
    HeadEdits, Hop, RequestContext, ResponseContext, each_response_field, forward_request, forward_response,
};
pub use head::{HEADERS_MAX, HeadScan};
pub use range::{RANGES_MAX, Ranges, parse_ranges};
pub use request::{RequestHead, parse_request};
pub use response::{ResponseHead, parse_response};
pub use status::reason;
pub use version::{Version, lower_request_version, lower_response_version};
