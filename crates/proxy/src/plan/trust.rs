//! What a listener accepts and believes; looked up when a connection arrives, so that
//! a change counts from the next connection on and disturbs none.

use super::dto::ListenerDto;
use ipnet::IpNet;
use std::net::SocketAddr;
use tidegate_message::Protocol;

/// One listener's terms.
#[derive(Debug)]
pub(crate) struct Trust {
    /// Whose `X-Forwarded-*` is kept.
    pub(crate) trusted_proxies: Vec<IpNet>,
    /// Whose PROXY header is required and believed.
    pub(crate) proxy_protocol_from: Vec<IpNet>,
    pub(crate) protocols: Vec<Protocol>,
    /// Whether clients without credentials may come in.
    pub(crate) anonymous: bool,
    /// Where openings that nothing knows are spliced to.
    pub(crate) unknown_to: Option<SocketAddr>,
}

impl Trust {
    pub(crate) fn new(listener: &ListenerDto) -> Trust {
        let networks = |list: &[String]| list.iter().filter_map(|text| network(text)).collect();
        let known = |name: &String| Protocol::ALL.into_iter().find(|protocol| protocol.label() == name);
        Trust {
            trusted_proxies: networks(&listener.trusted_proxies),
            proxy_protocol_from: networks(&listener.proxy_protocol_from),
            protocols: listener.protocols.iter().filter_map(known).collect(),
            anonymous: listener.anonymous,
            unknown_to: listener.unknown_to.as_ref().and_then(|address| address.parse().ok()),
        }
    }
}

/// A CIDR, or a plain address as the network of itself.
fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}
