//! `$SYS/broker/...`: what the gateway tells of itself as retained messages, under the
//! names that mosquitto gave them. The first worker publishes those that changed.

use crate::metrics::WorkerCounters;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use tidegate_message::{MessageBuilder, Protocol};

/// What was told last.
#[derive(Default)]
pub(crate) struct SysTopics {
    next_at: Cell<u64>,
    told: RefCell<HashMap<&'static str, String>>,
}

impl Worker {
    /// Tells what changed, every `broker.sysIntervalS`.
    pub(crate) fn attend_sys(self: &Rc<Self>, now: u64) {
        let seconds = self.plan.borrow().plan.broker.sys_interval_s;
        let state = &self.hub.sys;
        if self.id != 0 || seconds == 0 || now < state.next_at.get() {
            return;
        }
        state.next_at.set(now + seconds * 1_000);
        for (topic, value) in self.sys_values(now) {
            if state.told.borrow().get(topic) == Some(&value) {
                continue;
            }
            let mut message = MessageBuilder::new(Protocol::Internal, topic, value.as_bytes());
            message.retain = true;
            self.with_broker(|broker, sink| broker.spread_own(now, message, sink));
            state.told.borrow_mut().insert(topic, value);
        }
    }

    fn sys_values(&self, now: u64) -> Vec<(&'static str, String)> {
        let workers = &self.shared.registry.workers;
        let sum = |of: &dyn Fn(&WorkerCounters) -> u64| workers.iter().map(|worker| of(worker)).sum::<u64>();
        let mqtt = |worker: &WorkerCounters, of: &dyn Fn(&crate::metrics::ProtocolCounters) -> u64| {
            Protocol::ALL.iter().map(|protocol| of(worker.of(*protocol))).sum::<u64>()
        };
        let connected = sum(&|worker| worker.sessions_connected.value());
        let disconnected = sum(&|worker| worker.sessions_disconnected.value());
        let received =
            sum(&|worker| mqtt(worker, &|counters| counters.messages_in.iter().map(|count| count.value()).sum()));
        let sent =
            sum(&|worker| mqtt(worker, &|counters| counters.messages_out.iter().map(|count| count.value()).sum()));
        let bytes_in = sum(&|worker| mqtt(worker, &|counters| counters.message_bytes_in.value()));
        let bytes_out = sum(&|worker| mqtt(worker, &|counters| counters.message_bytes_out.value()));
        let dropped = sum(&|worker| worker.dropped.lock().values().sum());
        let retained = self.shared.broker.retained().count();
        vec![
            ("$SYS/broker/version", concat!("tidegate ", env!("CARGO_PKG_VERSION")).to_owned()),
            ("$SYS/broker/uptime", format!("{} seconds", now / 1_000)),
            ("$SYS/broker/clients/connected", connected.to_string()),
            ("$SYS/broker/clients/disconnected", disconnected.to_string()),
            ("$SYS/broker/clients/total", (connected + disconnected).to_string()),
            ("$SYS/broker/subscriptions/count", sum(&|worker| worker.subscriptions.value()).to_string()),
            ("$SYS/broker/retained messages/count", retained.to_string()),
            ("$SYS/broker/messages/stored", sum(&|worker| worker.queued.value()).to_string()),
            ("$SYS/broker/publish/messages/received", received.to_string()),
            ("$SYS/broker/publish/messages/sent", sent.to_string()),
            ("$SYS/broker/publish/messages/dropped", dropped.to_string()),
            ("$SYS/broker/publish/bytes/received", bytes_in.to_string()),
            ("$SYS/broker/publish/bytes/sent", bytes_out.to_string()),
        ]
    }
}
