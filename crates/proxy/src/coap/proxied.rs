//! Requests to a forward proxy (RFC 7252 section 5.7.2): taken apart, and routed like any
//! other by the host that they name. Only a route that names it reaches it; what is for the
//! gateway itself is an ordinary request.

use super::server::Server;
use super::waiting::Ticket;
use crate::outbound::coap::host_and_port;
use crate::plan::CoapDto;
use std::net::{IpAddr, SocketAddr};
use tidegate_coap::{Code, Destination, Message, NoDestination, Request};

impl Server {
    pub(super) fn dispatch_proxied(&mut self, ticket: Ticket, request: &Request<'_>) {
        let coap = &ticket.plan.plan.coap;
        if !coap.forward_proxy {
            return self.answer(&ticket, Code::PROXYING_NOT_SUPPORTED, b"no forward proxy (coap.forwardProxy)");
        }
        let destination = match request.message.destination() {
            Ok(destination) => destination,
            Err(NoDestination::Scheme) => {
                return self.answer(&ticket, Code::PROXYING_NOT_SUPPORTED, b"a scheme that is not spoken here");
            }
            Err(NoDestination::Malformed(what)) => {
                return self.reject_option(&ticket, &format!("no absolute URI: {what}"));
            }
        };
        let transport = ticket.exchange.transport;
        let is_own = is_own(&destination, (coap, self.listener.local));
        let redirected = request.message.redirected(transport, &destination, is_own);
        // It was a message before its options changed, and there are no more of them than a URI has bytes.
        let Ok(message) = Message::decode_as(transport, &redirected, usize::MAX - 1) else { return };
        let body = request.upload.as_deref().unwrap_or(message.payload);
        self.dispatch(ticket, (&message, body, &redirected), None);
    }

    /// No route names the host.
    pub(super) fn refuse_proxied(&mut self, ticket: &Ticket) {
        self.answer(ticket, Code::PROXYING_NOT_SUPPORTED, b"no route names this host");
    }
}

/// Whether a request names us: no host at all, one of `coap.ownHosts`, or the address that it
/// came to. Where the listener is bound to any address, only loopback is known to be ours.
fn is_own(destination: &Destination, (coap, local): (&CoapDto, Option<SocketAddr>)) -> bool {
    let is_port = |own: u16| destination.port.is_none_or(|port| port == own);
    let Some(host) = destination.host.as_deref() else { return local.is_none_or(|local| is_port(local.port())) };
    let is_named = |own: &String| {
        let (name, port) = host_and_port(own);
        name.as_bytes().eq_ignore_ascii_case(host) && port.is_none_or(is_port)
    };
    let is_here = |local: SocketAddr, address: IpAddr| {
        let (own, address) = (local.ip().to_canonical(), address.to_canonical());
        is_port(local.port()) && (address == own || (own.is_unspecified() && address.is_loopback()))
    };
    let address = local.zip(destination.address());
    address.is_some_and(|(local, address)| is_here(local, address)) || coap.own_hosts.iter().any(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_coap::{Head, OptionList, OptionNumber, Token, Type, encode};

    fn names_us(uri: &str, (own_hosts, local): (&[&str], &str)) -> bool {
        let mut options = OptionList::new();
        match uri.strip_prefix('=') {
            Some(host) => {
                options.push(OptionNumber::PROXY_SCHEME, b"coap");
                if !host.is_empty() {
                    options.push(OptionNumber::URI_HOST, host.as_bytes());
                }
            }
            None => {
                options.push(OptionNumber::PROXY_URI, uri.as_bytes());
            }
        }
        let head = Head { kind: Type::Confirmable, code: Code::GET, message_id: 1, token: Token::default() };
        let mut datagram = Vec::new();
        encode(&mut datagram, &head, [&options, &OptionList::new()], b"");
        let destination = Message::decode(&datagram, 9).expect("valid").destination().expect("whole");
        let coap = CoapDto {
            own_hosts: own_hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..crate::plan::PlanDto::empty().coap
        };
        is_own(&destination, (&coap, local.parse().ok()))
    }

    #[test]
    fn a_request_is_for_us_where_it_names_the_address_it_came_to_or_a_name_that_is_ours() {
        let here = (&["gate.example", "nat.example:7000", "[2001:db8::7]:7000"][..], "192.0.2.7:5683");
        for uri in [
            "=",
            "=192.0.2.7",
            "=Gate.Example",
            "coap://192.0.2.7",
            "coap://192.0.2.7:5683/x",
            "coap://gate.example:9/",
            "coap://nat.example:7000/",
            "coap://[2001:db8::7]:7000/",
            "coap://[::ffff:192.0.2.7]/",
        ] {
            assert!(names_us(uri, here), "{uri}");
        }
        for uri in [
            "=192.0.2.8",
            "=other.example",
            "coap://192.0.2.7:5684/",
            "coaps://192.0.2.7/",
            "coap://nat.example/",
            "coap://[2001:db8::7]/",
            "coap://127.0.0.1/",
            "coap://gate.example.org/",
            "coap://xgate.example/",
        ] {
            assert!(!names_us(uri, here), "{uri}");
        }
        let anywhere = (&[][..], "[::]:5683");
        assert!(names_us("coap://127.0.0.1/", anywhere) && names_us("coap://[::1]/", anywhere));
        assert!(!names_us("coap://192.0.2.7/", anywhere) && !names_us("coap://localhost/", anywhere));
    }
}
