//! The form of every strategy.

use std::net::IpAddr;

use crate::Endpoints;

/// Place of an endpoint in its upstream's table.
pub type EndpointIndex = u32;

/// What a pick may look at.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickRequest<'a> {
    /// What a hash is taken of: the key that the strategy names, or a policy's.
    pub key: Option<&'a [u8]>,
    /// The peer's address.
    pub source: Option<IpAddr>,
    /// Endpoints that this request tried already.
    pub tried: Tried,
    /// Milliseconds of the gateway's clock.
    pub now_ms: u64,
    /// Which endpoints are meant; a picker is always asked for the same.
    pub side: Side,
}

/// Endpoints by their zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Side {
    /// Wherever they are.
    #[default]
    All,
    /// In the preferred zone.
    Near,
    /// Elsewhere.
    Far,
}

impl Side {
    /// Whether an endpoint belongs to it.
    pub const fn holds(self, near: bool) -> bool {
        match self {
            Side::All => true,
            Side::Near => near,
            Side::Far => !near,
        }
    }
}

/// Endpoints that earlier tries of a request went to. Remembers the last eight.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tried {
    list: [EndpointIndex; 8],
    count: usize,
}

impl Tried {
    /// None tried yet.
    pub const fn new() -> Self {
        Tried { list: [0; 8], count: 0 }
    }

    /// Remembers one; the ninth takes the place of the first.
    pub fn add(&mut self, endpoint: EndpointIndex) {
        self.list[self.count % 8] = endpoint;
        self.count += 1;
    }

    /// Whether it is among the remembered.
    pub fn contains(&self, endpoint: EndpointIndex) -> bool {
        self.list[..self.len()].contains(&endpoint)
    }

    /// How many are remembered.
    pub const fn len(&self) -> usize {
        if self.count < 8 { self.count } else { 8 }
    }

    /// Whether this is the first try.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// How long an endpoint took.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// Which endpoint.
    pub endpoint: EndpointIndex,
    /// Milliseconds of the gateway's clock, at the end.
    pub now_ms: u64,
    /// From the request to the response head, milliseconds.
    pub latency_ms: f64,
}

impl Sample {
    /// A failure counts as long as the endpoint asks to be left alone (`Retry-After`),
    /// else as 5 s: one that fails fast must not look fast.
    pub fn failed(endpoint: EndpointIndex, now_ms: u64, retry_after_ms: Option<u64>) -> Self {
        Sample { endpoint, now_ms, latency_ms: retry_after_ms.unwrap_or(5_000) as f64 }
    }
}

/// A strategy with one worker's cursors. It may be kept when the table is replaced:
/// it notices by the table's generation.
pub trait Picker: Send {
    /// The endpoint for this request, or `None` where there is none that is not
    /// draining. Tried endpoints are avoided as long as there is another.
    fn pick(&mut self, request: &PickRequest<'_>, endpoints: &Endpoints) -> Option<EndpointIndex>;

    /// Tells that a request to an endpoint failed: no answer, or 5xx.
    fn on_failure(&mut self, endpoint: EndpointIndex) {
        let _ = endpoint;
    }

    /// Tells how long a request took, or that it failed ([`Sample::failed`]). Only
    /// strategies that look at latency listen.
    fn on_response(&mut self, sample: &Sample, endpoints: &Endpoints) {
        let _ = (sample, endpoints);
    }
}
