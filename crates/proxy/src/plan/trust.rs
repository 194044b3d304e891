//! What a listener accepts and believes; looked up when a connection arrives, so that
//! a change counts from the next connection on and disturbs none.

use super::dto::ListenerDto;
use crate::metrics::{ListenerCounters, PerWorker, Registry};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tidegate_dtls::{DtlsError, Terms};
use tidegate_http::RequestHead;
use tidegate_message::Protocol;
use tidegate_tls::{ServerTerms, TlsError};

/// One listener's terms.
#[derive(Debug)]
pub(crate) struct Trust {
    /// Its address, as it was written.
    pub(crate) name: Box<str>,
    /// Whose `X-Forwarded-*` is kept.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whose PROXY header is required and believed.
    pub(crate) proxy_protocol_from: Vec<IpNet>,
    pub(crate) protocols: Vec<Protocol>,
    /// Whether streams of CoAP may carry requests that are not protected by OSCORE.
    pub(crate) takes_plain_coap: bool,
    /// Whether clients without credentials may come in.
    pub(crate) anonymous: bool,
    /// Where openings that nothing knows are spliced to.
    pub(crate) unknown_to: Option<SocketAddr>,
    /// How it speaks TLS; `None`: it does not.
    pub(crate) tls: Option<Arc<ServerTerms>>,
    /// How it speaks DTLS; `None`: it does not.
    pub(crate) dtls: Option<Arc<Terms>>,
    /// The security contexts of CoAP; `None`: it has none.
    pub(crate) oscore: Option<Arc<tidegate_oscore::Terms>>,
    pub(crate) counters: PerWorker<ListenerCounters>,
}

/// Why a listener's terms cannot be used.
#[derive(Debug)]
pub(crate) enum TermsError {
    Tls(TlsError),
    /// With the listener's name.
    Dtls(String, DtlsError),
    /// With what is wrong.
    Oscore(String),
}

impl From<TlsError> for TermsError {
    fn from(cause: TlsError) -> Self {
        TermsError::Tls(cause)
    }
}

impl Trust {
    /// Compiles a listener's terms. Certificates that are the same as `before` are kept.
    ///
    /// # Errors
    /// The file of certificates that cannot be used.
    pub(crate) fn new(
        listener: &ListenerDto,
        before: Option<&Trust>,
        registry: &Registry,
    ) -> Result<Trust, TermsError> {
        let networks = |list: &[String]| list.iter().filter_map(|text| network(text)).collect();
        let known = |name: &String| Protocol::ALL.into_iter().find(|protocol| protocol.label() == name);
        let known_terms = before.and_then(|before| before.tls.as_ref());
        let known_dtls = before.and_then(|before| before.dtls.as_ref());
        let dtls = listener.dtls.as_ref().map(|plan| Terms::load(plan, known_dtls)).transpose();
        let had_contexts = before.is_some_and(|before| before.oscore.is_some());
        let oscore = (had_contexts || !listener.oscore.is_empty())
            .then(|| tidegate_oscore::Terms::load(&listener.oscore).map(Arc::new))
            .transpose()
            .map_err(TermsError::Oscore)?;
        let mut protocols: Vec<Protocol> = listener.protocols.iter().filter_map(known).collect();
        let takes_plain_coap = protocols.contains(&Protocol::CoapTcp);
        if !takes_plain_coap && !listener.oscore.is_empty() {
            protocols.push(Protocol::CoapTcp);
        }
        Ok(Trust {
            name: listener.name.as_str().into(),
            oscore,
            takes_plain_coap,
            trusted_proxies: networks(&listener.trusted_proxies),
            proxy_protocol_from: networks(&listener.proxy_protocol_from),
            protocols,
            anonymous: listener.anonymous,
            unknown_to: listener.unknown_to.as_ref().and_then(|address| address.parse().ok()),
            tls: listener.tls.as_ref().map(|plan| ServerTerms::load(plan, known_terms)).transpose()?,
            counters: registry.listener(&listener.name),
            dtls: dtls.map_err(|cause| TermsError::Dtls(listener.name.clone(), cause))?,
        })
    }
}

#[cfg(test)]
impl Trust {
    /// One that lets nobody in.
    pub(crate) fn nobody(name: &str) -> Trust {
        Trust {
            name: name.into(),
            trusted_proxies: Vec::new(),
            proxy_protocol_from: Vec::new(),
            protocols: Vec::new(),
            anonymous: false,
            unknown_to: None,
            tls: None,
            dtls: None,
            oscore: None,
            takes_plain_coap: false,
            counters: Registry::new(1).listener(name),
        }
    }
}

impl Trust {
    /// Whether an address is a trusted proxy's.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }

    /// The client that trusted proxies speak for: the last address in `X-Forwarded-For`
    /// that is not one of theirs. `None`: nobody speaks for anybody.
    pub(crate) fn client_behind(&self, direct: IpAddr, head: &RequestHead<'_, '_>) -> Option<IpAddr> {
        if self.trusted_proxies.is_empty() || !self.trusts(direct) {
            return None;
        }
        let lines = head.headers.iter().rev().filter(|header| header.name.eq_ignore_ascii_case("x-forwarded-for"));
        let hops = lines.flat_map(|header| header.value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii));
        let mut found = None;
        for hop in hops {
            // What is no address was made up: whoever wrote it is not known.
            let Some(address) = std::str::from_utf8(hop).ok().and_then(address_of) else { break };
            found = Some(address);
            if !self.trusts(address) {
                break;
            }
        }
        found
    }
}

/// An address, with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// A CIDR, or a plain address as the network of itself.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)))
}
