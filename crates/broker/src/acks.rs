//! Acknowledgements of a session's client. Each makes room for what waits.

use crate::backlog::Received;
use crate::broker::Broker;
use crate::outlet::Outlet;
use crate::record::Record;
use crate::session::Session;
use crate::sink::{Sink, SubscriberId};
use tidegate_message::Qos;

impl Broker {
    /// PUBACK: whether that QoS 1 delivery was in flight.
    pub fn puback<S: Sink>(&mut self, now: u64, (id, packet_id): (SubscriberId, u16), sink: &mut S) -> bool {
        self.finished((id, now), sink, |session| session.backlog_mut()?.acknowledge(packet_id, Some(Qos::AtLeastOnce)))
    }

    /// A delivery that was not sent because the client does not take its size: it
    /// counts as acknowledged (MQTT-3.1.2-25).
    pub fn discard<S: Sink>(&mut self, now: u64, (id, packet_id): (SubscriberId, u16), sink: &mut S) -> bool {
        self.finished((id, now), sink, |session| session.backlog_mut()?.acknowledge(packet_id, None))
    }

    /// PUBREC; `accepted`: its reason code is below 0x80.
    pub fn pubrec<S: Sink>(
        &mut self,
        now: u64,
        (id, packet_id): (SubscriberId, u16),
        accepted: bool,
        sink: &mut S,
    ) -> Received {
        let received = self.acknowledged((id, now), sink, |session, outlet| {
            let Some(backlog) = session.backlog_mut() else { return Received::Unknown };
            let (received, number) = backlog.receive(packet_id, accepted);
            match received {
                Received::Release => outlet.append(|key| Record::Released { key, number, packet_id }),
                Received::Done => outlet.append(|key| Record::Done { key, number }),
                Received::Unknown => {}
            }
            received
        });
        received.unwrap_or(Received::Unknown)
    }

    /// PUBCOMP: whether it was awaited.
    pub fn pubcomp<S: Sink>(&mut self, now: u64, (id, packet_id): (SubscriberId, u16), sink: &mut S) -> bool {
        self.finished((id, now), sink, |session| session.backlog_mut()?.complete(packet_id))
    }

    /// PUBREL for what the client sent: whether the identifier was in use. Answer with PUBCOMP.
    pub fn pubrel<S: Sink>(&mut self, id: SubscriberId, packet_id: u16, sink: &mut S) -> bool {
        let released = self.subscribers.with_session((id, 0), sink, |session, outlet| {
            let known = session.backlog_mut().is_some_and(|backlog| backlog.release_inbound(packet_id));
            if known {
                outlet.append(|key| Record::Inbound { key, packet_id, held: false });
            }
            known
        });
        released.unwrap_or(false)
    }

    /// A delivery is over; `act` says which.
    fn finished<S: Sink>(
        &mut self,
        to: (SubscriberId, u64),
        sink: &mut S,
        act: impl FnOnce(&mut Session) -> Option<u64>,
    ) -> bool {
        let finished = self.acknowledged(to, sink, |session, outlet| {
            let number = act(session)?;
            outlet.append(|key| Record::Done { key, number });
            Some(())
        });
        finished.flatten().is_some()
    }

    fn acknowledged<S: Sink, T>(
        &mut self,
        (id, now): (SubscriberId, u64),
        sink: &mut S,
        act: impl FnOnce(&mut Session, &mut Outlet<'_, S>) -> T,
    ) -> Option<T> {
        self.refresh_acl();
        let Broker { subscribers, acl, .. } = self;
        let result = subscribers.with_session((id, now), sink, |session, outlet: &mut Outlet<'_, S>| {
            let result = act(session, outlet);
            session.pump(acl, outlet);
            result
        });
        self.replay_on(now, id, sink);
        result
    }
}
