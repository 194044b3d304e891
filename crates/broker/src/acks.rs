//! Acknowledgements of a session's client. Each makes room for what waits.

use crate::backlog::Received;
use crate::broker::Broker;
use crate::outlet::Outlet;
use crate::session::Session;
use crate::sink::{Sink, SubscriberId};
use tidegate_message::Qos;

impl Broker {
    /// PUBACK: whether that QoS 1 delivery was in flight.
    pub fn puback<S: Sink>(&mut self, now: u64, (id, packet_id): (SubscriberId, u16), sink: &mut S) -> bool {
        self.acknowledged((id, now), sink, |session| session.backlog.acknowledge(packet_id, Some(Qos::AtLeastOnce)))
            .unwrap_or(false)
    }

    /// A delivery that was not sent because the client does not take its size: it
    /// counts as acknowledged (MQTT-3.1.2-25).
    pub fn discard<S: Sink>(&mut self, now: u64, (id, packet_id): (SubscriberId, u16), sink: &mut S) -> bool {
        self.acknowledged((id, now), sink, |session| session.backlog.acknowledge(packet_id, None)).unwrap_or(false)
    }

    /// PUBREC; `accepted`: its reason code is below 0x80.
    pub fn pubrec<S: Sink>(
        &mut self,
        now: u64,
        (id, packet_id): (SubscriberId, u16),
        accepted: bool,
        sink: &mut S,
    ) -> Received {
        self.acknowledged((id, now), sink, |session| session.backlog.receive(packet_id, accepted))
            .unwrap_or(Received::Unknown)
    }

    /// PUBCOMP: whether it was awaited.
    pub fn pubcomp<S: Sink>(&mut self, now: u64, (id, packet_id): (SubscriberId, u16), sink: &mut S) -> bool {
        self.acknowledged((id, now), sink, |session| session.backlog.complete(packet_id)).unwrap_or(false)
    }

    /// PUBREL for what the client sent: whether the identifier was in use. Answer with PUBCOMP.
    pub fn pubrel(&mut self, id: SubscriberId, packet_id: u16) -> bool {
        let session = self.subscribers.get_mut(id).and_then(|slot| slot.session.as_mut());
        session.is_some_and(|session| session.backlog.release_inbound(packet_id))
    }

    fn acknowledged<S: Sink, T>(
        &mut self,
        (id, now): (SubscriberId, u64),
        sink: &mut S,
        act: impl FnOnce(&mut Session) -> T,
    ) -> Option<T> {
        self.subscribers.with_session((id, now), sink, |session, outlet: &mut Outlet<'_, S>| {
            let result = act(session);
            session.pump(outlet);
            result
        })
    }
}
