//! SUBSCRIBE: each filter asked about, granted or refused for itself, then the SUBACK and what
//! is retained.

use super::packets::{Handled, Later};
use super::serve::Connection;
use super::taking::Rest;
use crate::hooks::{self, Subscription};
use std::rc::Rc;
use tidegate_broker::{Granted, Options, Replay};
use tidegate_message::{Outcome, Protocol};
use tidegate_mqtt::{RetainHandling, Subscribe, reason, split_share};

/// What a SUBSCRIBE came to, filter by filter.
#[derive(Default)]
pub(crate) struct Grants {
    codes: Vec<u8>,
    granted: Vec<Granted>,
    /// The interest that every worker has to know of.
    after: u64,
}

impl Connection {
    pub(super) fn subscribe(&mut self, subscribe: &Subscribe<'_>, used: usize) -> Handled {
        let worker = &self.client.worker;
        let id = subscribe.subscription_id().unwrap_or(0);
        let is_bridge = self.link.session.borrow().is_bridge();
        let wanted = subscribe.filters.iter().map(|wanted| (wanted.filter, options((&wanted, is_bridge), id)));
        if worker.plan.borrow().plan.hooks.on_subscribe() {
            let wanted = wanted.map(|(filter, options)| (filter.into(), options)).collect();
            return Handled::Later(Later::Asked(subscribe.packet_id, wanted), used);
        }
        let mut grants = Grants::default();
        wanted.for_each(|(filter, options)| self.grant(filter, options, &mut grants));
        if self.client.worker.hub.broker.borrow().settled() < grants.after {
            self.link.hold();
            return Handled::Later(Later::Subscribe(subscribe.packet_id, grants), used);
        }
        if self.suback(subscribe.packet_id, &grants) { Handled::Used(used) } else { Handled::End }
    }

    /// Asks the hooks about each filter.
    pub(super) async fn ask_about(&mut self, wanted: Vec<(Box<str>, Options)>, rest: &mut Rest) -> Grants {
        let mut verdicts = Vec::with_capacity(wanted.len());
        for (filter, options) in wanted {
            let worker = Rc::clone(&self.client.worker);
            let (peer, access) = (Rc::clone(&self.seat.publisher.peer), self.seat.publisher.access.clone());
            let who = (Protocol::Mqtt, &*peer, &access);
            let asked = hooks::subscribe(&worker, who, Subscription { filter, qos: options.qos });
            verdicts.push((self.answering(asked, rest).await, options));
        }
        // Nothing of the first filter is to come while the last one is asked about.
        let (worker, mut grants) = (Rc::clone(&self.client.worker), Grants::default());
        for (verdict, options) in verdicts {
            match verdict {
                Ok(Subscription { filter, qos }) => self.grant(&filter, Options { qos, ..options }, &mut grants),
                Err(refusal) => {
                    worker.counters.auth(Protocol::Mqtt, "subscribe-forbidden");
                    let is_v5 = self.link.session.borrow().version().is_v5();
                    grants.codes.push(if is_v5 { reason::for_suback(refusal.code) } else { reason::UNSPECIFIED });
                }
            }
        }
        self.link.hold();
        grants
    }

    fn grant(&mut self, filter: &str, options: Options, grants: &mut Grants) {
        let Some(id) = self.seat.id() else { return };
        let worker = &self.client.worker;
        match worker.with_broker(|broker, sink| broker.subscribe(id, filter, options, sink)) {
            Ok(granted) => {
                grants.codes.push(granted.qos as u8);
                grants.after = grants.after.max(granted.after);
                grants.granted.push(granted);
            }
            // MQTT-3.9.3-2: the code for a filter is its own, the others stand.
            Err(outcome) => {
                if outcome == Outcome::Forbidden {
                    worker.counters.auth(Protocol::Mqtt, "subscribe-forbidden");
                }
                grants.codes.push(refusal(outcome, self.link.session.borrow().version().is_v5()));
            }
        }
    }

    /// Answers when every worker knows. `false`: the connection ends.
    pub(super) async fn settle(&mut self, packet_id: u16, grants: Grants) -> bool {
        self.client.worker.settled(grants.after).await;
        self.suback(packet_id, &grants)
    }

    /// SUBACK, then what came for the subscriptions already, then the retained messages. `false`: the connection ends.
    fn suback(&mut self, packet_id: u16, grants: &Grants) -> bool {
        let mut behind = self.link.release();
        let is_said = {
            let (mut session, mut out) = (self.link.session.borrow_mut(), self.link.out.borrow_mut());
            let is_said = session.suback(packet_id, &grants.codes, &mut out);
            if is_said {
                out.append(&mut behind);
            }
            is_said
        };
        let Some(id) = self.seat.id().filter(|_| is_said) else { return false };
        let worker = &self.client.worker;
        self.link.need(worker.hub.keeper.appended());
        let now = worker.clock.millis();
        for grant in &grants.granted {
            worker.with_broker(|broker, sink| broker.replay(now, id, grant, sink));
        }
        self.mark();
        true
    }
}

fn options((wanted, is_bridge): (&tidegate_mqtt::Subscription<'_>, bool), id: u32) -> Options {
    let given = &wanted.options;
    // MQTT-3.8.3-4
    let is_shared = || split_share(wanted.filter).is_ok_and(|parts| parts.is_some());
    Options {
        qos: given.qos,
        no_local: given.no_local || (is_bridge && !is_shared()),
        retain_as_published: given.retain_as_published || is_bridge,
        replay: match given.retain_handling {
            RetainHandling::Send => Replay::Always,
            RetainHandling::SendIfNew => Replay::IfNew,
            RetainHandling::DoNotSend => Replay::Never,
        },
        id,
    }
}

/// The SUBACK code of a refused filter; 3.1.1 knows one only.
fn refusal(outcome: Outcome, is_v5: bool) -> u8 {
    match outcome {
        _ if !is_v5 => reason::UNSPECIFIED,
        Outcome::InvalidTopic => reason::TOPIC_FILTER_INVALID,
        Outcome::Forbidden => reason::NOT_AUTHORIZED,
        Outcome::QuotaExceeded => reason::QUOTA_EXCEEDED,
        _ => reason::UNSPECIFIED,
    }
}
