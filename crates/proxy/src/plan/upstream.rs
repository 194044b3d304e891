//! An upstream of a plan, with the state it shares with the plans before and after.

use super::dto::{ProxyDto, UpstreamDto};
use crate::metrics::{PerWorker, Registry, UpstreamCounters};
use crate::outbound::{Dialing, Wire};
use std::sync::Arc;
use std::time::Duration;
use tidegate_balance::{BalancePlan, CookiePlan, EndpointSpec, EndpointState, Endpoints};
use tidegate_policy::{Key, KeyPlan};
use tidegate_resilience::{Adaptive, Concurrency, Full, Gate, OutlierDetector, OutlierState, Permit, RetryBudget};
use tidegate_tls::ClientTerms;
use tidegate_upstream::Places;

/// Everything a worker needs to send a request there.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) name: Box<str>,
    /// Whether MQTT brokers are behind it.
    pub(crate) is_broker: bool,
    pub(crate) balance: BalancePlan,
    /// What a consistent hash is taken of.
    pub(crate) key: Option<Key>,
    /// The cookie of that key is given to who has none.
    pub(crate) affinity: Option<CookiePlan>,
    pub(crate) endpoints: Endpoints,
    pub(crate) dialing: Dialing,
    /// What of it tells one way of dialing from another: pools are kept apart by it.
    pub(crate) content: Box<str>,
    /// Names that endpoints prove in TLS, in their order.
    pub(crate) hosts: Vec<Box<str>>,
    pub(crate) idle_timeout_ms: u64,
    pub(crate) places: Arc<Places>,
    pub(crate) requests: Arc<Concurrency>,
    pub(crate) max_requests: u32,
    /// What moves the bound of `requests`.
    pub(crate) adaptive: Option<Arc<Adaptive>>,
    /// Requests that wait for a connection.
    pub(crate) pending: Arc<Concurrency>,
    pub(crate) budget: Arc<RetryBudget>,
    pub(crate) gate: Option<Arc<Gate>>,
    pub(crate) outlier: Option<OutlierDetector>,
    /// What the detection knows of each endpoint, in their order; outlives the plan.
    outlier_states: Vec<Arc<OutlierState>>,
    pub(crate) counters: PerWorker<UpstreamCounters>,
    pub(crate) problem: Option<Box<str>>,
}

impl Upstream {
    /// Lets one more request in. Where each needs a connection of its own, and there are no
    /// more of those than of requests, `requests` and those in line are bounded together.
    ///
    /// # Errors
    /// [`Full`]: answer 503.
    pub(crate) fn admit(&self) -> Result<Permit, Full> {
        let has_line = self.has_one_each() && self.places.max() <= self.requests.max();
        self.requests.take_beyond(if has_line { self.pending.max() } else { 0 })
    }

    /// A place in the line of those that wait for a connection. `None`: there is room for
    /// another connection, and opening it is no waiting.
    ///
    /// # Errors
    /// [`Full`]: answer 503.
    pub(crate) fn line_up(&self) -> Result<Option<Permit>, Full> {
        if self.has_one_each() && !self.places.is_full() {
            return Ok(None);
        }
        self.pending.take().map(Some)
    }

    /// Whether each request has a connection of its own.
    const fn has_one_each(&self) -> bool {
        matches!(self.dialing.wire, Wire::Http1)
    }

    pub(crate) fn compile(dto: UpstreamDto, before: Option<&Upstream>, registry: &Registry) -> Upstream {
        let mut problem = dto.problem.map(Box::from);
        let tls = match dto.tls.as_ref().map(ClientTerms::load) {
            None => None,
            Some(Ok(terms)) => Some(Arc::new(terms)),
            Some(Err(error)) => {
                problem = problem.or_else(|| Some(error.to_string().into()));
                None
            }
        };
        if dto.protocol == "coap" && tls.is_some() {
            // Never in the clear where DTLS was asked for.
            problem = problem.or_else(|| Some("CoAP upstreams are not spoken to over DTLS yet".into()));
        }
        let dialing = Dialing {
            wire: match dto.protocol.as_str() {
                "h2" | "h2c" => Wire::Http2,
                "coap" => Wire::Coap,
                _ => Wire::Http1,
            },
            tls,
            timeout: Duration::from_millis(dto.connect_timeout_ms),
            max_streams: dto.max_streams as usize,
            upstream: dto.name.as_str().into(),
            proxy: dto.proxy_protocol.map(ProxyDto::version),
        };
        let content = format!("{:?} {} {:?} {:?}", dto.protocol, dto.max_streams, dto.tls, dto.proxy_protocol);
        let hosts = dto.endpoints.iter().map(|endpoint| endpoint.host.as_str().into()).collect();
        let mut specs = Vec::with_capacity(dto.endpoints.len());
        for endpoint in dto.endpoints {
            let Ok(address) = endpoint.address.parse() else {
                problem = Some(format!("endpoint {} has no usable address: {}", endpoint.id, endpoint.address).into());
                continue;
            };
            let state = before.and_then(|before| {
                before.endpoints.iter().find(|known| *known.id == *endpoint.id).map(|known| Arc::clone(known.state()))
            });
            specs.push(EndpointSpec {
                id: endpoint.id.into(),
                address,
                weight: endpoint.weight,
                health: endpoint.health,
                draining: endpoint.draining,
                near: endpoint.near,
                state: state.unwrap_or_else(|| Arc::new(EndpointState::default())),
            });
        }
        let key = match &dto.balance {
            BalancePlan::ConsistentHash { key, .. } | BalancePlan::Chosen { key } => {
                match Key::compile(&KeyPlan { by: key.by.clone(), name: key.name.clone(), also: Vec::new() }) {
                    Ok(key) => Some(key),
                    Err(error) => {
                        problem = Some(error.to_string().into());
                        None
                    }
                }
            }
            _ => None,
        };
        let known_state = |spec: &EndpointSpec| {
            let before = before?;
            let at = before.endpoints.position(&spec.id)?;
            before.outlier_states.get(at as usize).cloned()
        };
        let outlier_states: Vec<Arc<OutlierState>> =
            specs.iter().map(|spec| known_state(spec).unwrap_or_default()).collect();
        let outlier = dto.outlier.map(|plan| OutlierDetector::new(plan, outlier_states.clone()));
        let requests =
            before.map_or_else(|| Arc::new(Concurrency::new(dto.max_requests)), |known| Arc::clone(&known.requests));
        let adaptive = dto.adaptive.map(|plan| match before.and_then(|known| known.adaptive.as_ref()) {
            Some(adaptive) if *adaptive.plan() == plan => Arc::clone(adaptive),
            _ => Arc::new(Adaptive::new(plan)),
        });
        let learnt = adaptive.as_ref().map_or(u32::MAX, |adaptive| adaptive.limit());
        requests.set_max(dto.max_requests.min(learnt));
        let pending =
            before.map_or_else(|| Arc::new(Concurrency::new(dto.max_pending)), |known| Arc::clone(&known.pending));
        pending.set_max(dto.max_pending);
        let places = before.map_or_else(|| Places::new(dto.max_connections), |known| Arc::clone(&known.places));
        places.set_max(dto.max_connections);
        let budget =
            before.map_or_else(|| Arc::new(RetryBudget::new(dto.max_retries)), |known| Arc::clone(&known.budget));
        budget.set_max(dto.max_retries);
        let gate = dto.breaker.map(|plan| match before.and_then(|known| known.gate.as_ref()) {
            Some(gate) if *gate.plan() == plan => Arc::clone(gate),
            _ => Arc::new(Gate::new(plan)),
        });
        let endpoints = Endpoints::new(specs, dto.panic_percent);
        if outlier.is_none() {
            // Nobody would ever take them back.
            (0..endpoints.len() as u32).for_each(|index| {
                endpoints.set_ejected(index, false);
            });
        }
        Upstream {
            outlier_states,
            counters: registry.upstream(&dto.name),
            key,
            affinity: match &dto.balance {
                BalancePlan::ConsistentHash { set, .. } => set.clone(),
                _ => None,
            },
            balance: dto.balance,
            is_broker: dto.protocol == "mqtt",
            endpoints,
            dialing,
            content: content.into(),
            hosts,
            idle_timeout_ms: dto.idle_timeout_ms,
            places,
            requests,
            max_requests: dto.max_requests,
            adaptive,
            pending,
            budget,
            gate,
            outlier,
            name: dto.name.into(),
            problem,
        }
    }
}
