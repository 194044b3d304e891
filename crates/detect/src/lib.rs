//! The first bytes of a connection or datagram decide its protocol. A pure
//! function of the bytes: no state, no allocation; more bytes can only turn
//! `NeedMore` into something else.
#![forbid(unsafe_code)]

mod datagram;
mod proxy_header;
mod stream;

pub use datagram::{DatagramOpening, detect_datagram};
pub use proxy_header::{ProxyHeader, parse_proxy_header};
pub use stream::{Detection, Opening, detect, resembles_http1};
