//! One compiled `MatchPlan`. Routes use it behind their index; filters of policies
//! use it alone.

use std::net::IpAddr;

use ipnet::IpNet;
use tidegate_message::{FieldId, Protocol, View};

use crate::certificate::CertificatePattern;
use crate::host::HostPattern;
use crate::path::PathPattern;
use crate::query::decode_query;
use crate::text::TextPattern;
use crate::{MatchPlan, RouteError, TextPlan, ValuePlan, filter_matches, valid_filter};

/// A compiled condition: every part that was given must hold.
#[derive(Clone, Debug, Default)]
pub struct Condition {
    pub(crate) host: Option<HostPattern>,
    pub(crate) path: Option<PathPattern>,
    pub(crate) topic: Option<Box<str>>,
    pub(crate) rest: Rest,
}

/// The parts that no index answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest {
    /// One bit per `Protocol`; 0: any.
    pub(crate) protocols: u16,
    pub(crate) methods: Box<[Box<[u8]>]>,
    pub(crate) headers: Box<[Named]>,
    pub(crate) query: Box<[Named]>,
    pub(crate) client_id: Option<TextPattern>,
    user: Option<TextPattern>,
    source: Box<[IpNet]>,
    sni: Option<HostPattern>,
    certificate: Option<CertificatePattern>,
}

/// A text condition on a named field.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    name: Box<str>,
    pattern: TextPattern,
}

impl Condition {
    /// Compiles a condition.
    ///
    /// # Errors
    /// The first part that breaks a rule, with its value.
    pub fn compile(plan: &MatchPlan) -> Result<Self, RouteError> {
        let topic = plan.topic.as_deref().map(checked_filter).transpose()?;
        Ok(Condition {
            host: plan.host.as_deref().map(HostPattern::compile).transpose()?,
            path: plan.path.as_ref().map(PathPattern::compile).transpose()?,
            topic: topic.map(Box::from),
            rest: Rest::compile(plan)?,
        })
    }

    /// Whether everything that was given holds for this message.
    pub fn matches<V: View>(&self, view: &V) -> bool {
        self.mismatch(view).is_none()
    }

    /// The part that does not hold, in words, or `None` where all do.
    pub(crate) fn mismatch<V: View>(&self, view: &V) -> Option<&'static str> {
        let host = |pattern: &HostPattern| view.field(FieldId::Host).is_some_and(|host| pattern.matches(host));
        let path = |pattern: &PathPattern| view.field(FieldId::Path).is_some_and(|path| pattern.matches(path));
        let topic = |filter: &str| {
            let topic = view.field(FieldId::Topic).and_then(|topic| std::str::from_utf8(topic).ok());
            topic.is_some_and(|topic| filter_matches(filter, topic))
        };
        if !self.host.as_ref().is_none_or(host) {
            return Some("host differs");
        }
        if !self.path.as_ref().is_none_or(path) {
            return Some("path differs");
        }
        if !self.topic.as_deref().is_none_or(topic) {
            return Some("topic does not match the filter");
        }
        self.rest.mismatch(view)
    }
}

impl Rest {
    fn compile(plan: &MatchPlan) -> Result<Self, RouteError> {
        let named = |plans: &[ValuePlan]| plans.iter().map(Named::compile).collect::<Result<_, _>>();
        let text = |plan: &Option<TextPlan>| {
            plan.as_ref().map(|text| TextPattern::compile(text.kind, &text.value)).transpose()
        };
        Ok(Rest {
            protocols: plan.protocols.iter().try_fold(0, |bits, label| Ok(bits | protocol_bit(label)?))?,
            methods: plan.methods.iter().map(|method| method.to_ascii_uppercase().into_bytes().into()).collect(),
            headers: named(&plan.headers)?,
            query: named(&plan.query)?,
            client_id: text(&plan.client_id)?,
            user: text(&plan.user)?,
            source: plan.source.iter().map(|text| network(text)).collect::<Result<_, _>>()?,
            sni: plan.sni.as_deref().map(HostPattern::compile).transpose()?,
            certificate: plan.certificate.as_ref().map(CertificatePattern::compile).transpose()?,
        })
    }

    /// Nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        let Rest { protocols, methods, headers, query, client_id, user, source, sni, certificate } = self;
        *protocols == 0
            && methods.is_empty()
            && headers.is_empty()
            && query.is_empty()
            && source.is_empty()
            && client_id.is_none()
            && user.is_none()
            && sni.is_none()
            && certificate.is_none()
    }

    pub(crate) fn matches<V: View>(&self, view: &V) -> bool {
        self.mismatch(view).is_none()
    }

    fn mismatch<V: View>(&self, view: &V) -> Option<&'static str> {
        if self.protocols != 0 && self.protocols & bit(view.protocol()) == 0 {
            return Some("protocol differs");
        }
        if !self.methods.is_empty() && !self.has_method(view.field(FieldId::Method)) {
            return Some("method differs");
        }
        let header = |named: &Named| named.pattern.matches(view.field(FieldId::Header(&named.name)));
        if !self.headers.iter().all(header) {
            return Some("a header differs");
        }
        let query = |named: &Named| {
            let value = view.field(FieldId::Query(&named.name));
            named.pattern.matches(value) || named.pattern.matches(value.map(decode_query).as_deref())
        };
        if !self.query.iter().all(query) {
            return Some("a query parameter differs");
        }
        if !self.client_id.as_ref().is_none_or(|pattern| pattern.matches(view.field(FieldId::ClientId))) {
            return Some("client id differs");
        }
        self.peer_mismatch(view)
    }

    fn peer_mismatch<V: View>(&self, view: &V) -> Option<&'static str> {
        let user = |pattern: &TextPattern| pattern.matches(view.peer().user().map(|user| user.as_bytes()));
        if !self.user.as_ref().is_none_or(user) {
            return Some("user differs");
        }
        // A dual-stack socket shows IPv4 peers as mapped addresses.
        let inside = |nets: &[IpNet], address: IpAddr| nets.iter().any(|net| net.contains(&address));
        if !self.source.is_empty() && !inside(&self.source, view.peer().address.ip().to_canonical()) {
            return Some("source address differs");
        }
        let sni = |pattern: &HostPattern| view.peer().sni().is_some_and(|sni| pattern.matches(sni.as_bytes()));
        if !self.sni.as_ref().is_none_or(sni) {
            return Some("server name differs");
        }
        let shown = view.peer().certificate();
        (!self.certificate.as_ref().is_none_or(|pattern| pattern.matches(shown)))
            .then_some("client certificate differs")
    }

    fn has_method(&self, method: Option<&[u8]>) -> bool {
        method.is_some_and(|method| self.methods.iter().any(|own| **own == *method))
    }
}

impl Named {
    fn compile(plan: &ValuePlan) -> Result<Self, RouteError> {
        Ok(Named { name: plan.name.as_str().into(), pattern: TextPattern::compile(plan.kind, &plan.value)? })
    }
}

/// The bit of a protocol in `Rest::protocols`.
pub(crate) const fn bit(protocol: Protocol) -> u16 {
    1 << protocol as u16
}

fn protocol_bit(label: &str) -> Result<u16, RouteError> {
    let protocol = Protocol::ALL.into_iter().find(|protocol| protocol.label() == label);
    protocol.map(bit).ok_or_else(|| RouteError::UnknownProtocol(label.to_owned()))
}

fn network(text: &str) -> Result<IpNet, RouteError> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| address()).map_err(|_| RouteError::InvalidSource(text.to_owned()))
}

fn checked_filter(filter: &str) -> Result<&str, RouteError> {
    valid_filter(filter).then_some(filter).ok_or_else(|| RouteError::InvalidTopicFilter(filter.to_owned()))
}
