//! What `tidegate mqtt trace` shows: packets of chosen clients or topics as they come and
//! go, and what is dropped on the way. Off, it costs one look at a flag.

use crate::worker::Worker;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use tidegate_broker::matches;
use tidegate_ring::{EventKind, EventRecord};

/// The number under which its records reach TypeScript; subscriptions begin at 1.
const TRACE: u32 = 0;

/// What somebody wants to see; nothing given: everything.
#[derive(Deserialize, Clone, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Watch {
    client_id: Option<String>,
    topic: Option<String>,
}

/// One line.
#[derive(Serialize, Default)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line<'l> {
    /// `in`, `out` or `dropped`.
    pub(crate) direction: &'static str,
    /// The packet's name in lower case.
    pub(crate) packet: &'static str,
    pub(crate) client_id: Option<&'l str>,
    pub(crate) topic: Option<&'l str>,
    pub(crate) qos: Option<u8>,
    pub(crate) packet_id: Option<u16>,
    pub(crate) bytes: Option<usize>,
    /// Why it was dropped, or the reason code of the packet.
    pub(crate) reason: Option<&'l str>,
}

/// One worker's watches.
#[derive(Default)]
pub(crate) struct Traces {
    is_on: Cell<bool>,
    watches: RefCell<Vec<Watch>>,
}

impl Traces {
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.get()
    }

    pub(crate) fn set(&self, watches: Vec<Watch>) {
        self.is_on.set(!watches.is_empty());
        self.watches.replace(watches);
    }

    fn wants(&self, line: &Line<'_>) -> bool {
        self.watches.borrow().iter().any(|watch| {
            let is_client = watch.client_id.as_deref().is_none_or(|wanted| line.client_id == Some(wanted));
            let is_topic =
                watch.topic.as_deref().is_none_or(|filter| line.topic.is_some_and(|topic| matches(filter, topic)));
            is_client && is_topic
        })
    }
}

impl Worker {
    /// Tells a line to whoever watches; call it only where `traces.is_on()`.
    pub(crate) fn trace(&self, line: &Line<'_>) {
        if !self.hub.traces.wants(line) {
            return;
        }
        let Ok(text) = serde_json::to_string(line) else { return };
        let time = (self.clock.epoch_ms() + self.clock.millis()) as f64;
        self.event(&EventRecord { kind: EventKind::Message, a: TRACE, b: 0, c: 0, time, d: 0.0, text: &text });
    }
}
