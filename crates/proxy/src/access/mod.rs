//! The access log: a line for each request, or for one in so many. A worker formats
//! lines into memory of its own and hands them over by the batch; a thread writes. Where
//! it falls behind lines are dropped and counted, never waited for. What is seen of a
//! request is also what its span tells.

mod attempt;
mod format;
mod seen;
mod sink;
mod span;

pub(crate) use attempt::{Attempt, TryEnd, readdress};
pub(crate) use seen::Seen;
pub(crate) use sink::{AccessBuffer, AccessLogDto, AccessSink};
pub(crate) use span::{Parent, Span, SpanRecord, TracingDto, tell, tell_request};

/// How a line looks.
#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// An object with everything that is known.
    Json,
    /// The Common Log Format of NCSA's servers.
    Common,
    /// That, with referer and user agent.
    Combined,
}

impl Ending<'_> {
    /// Of bytes that are no request.
    pub(crate) fn refused((began_ms, micros): (u64, u64), status: u16, bytes: usize) -> Ending<'static> {
        Ending {
            began_ms,
            micros,
            status,
            bytes: bytes as u64,
            route: None,
            upstream: None,
            endpoint: None,
            flag: "-",
            retries: 0,
        }
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'e> {
    /// When it began, milliseconds since 1970.
    pub(crate) began_ms: u64,
    pub(crate) micros: u64,
    pub(crate) status: u16,
    /// Of the answer's body.
    pub(crate) bytes: u64,
    pub(crate) route: Option<&'e str>,
    pub(crate) upstream: Option<&'e str>,
    pub(crate) endpoint: Option<&'e str>,
    pub(crate) flag: &'e str,
    pub(crate) retries: u32,
}
