//! Keeps the logs short: when most of one is superfluous, all that is live is said
//! again a little at a time, and the old segments go.

use super::HubSink;
use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tidegate_broker::{Kept, Record};

/// Bytes said again per look; a look is every 100 ms.
const STEP_BYTES: usize = 1 << 20;
/// Retained messages said again per look.
const STEP_RETAINED: usize = 4_096;
/// From the end of a checkpoint until old segments go, milliseconds: long enough for
/// other workers to have said what they know of messages between them.
const COVERED_MS: u64 = 5_000;

/// How far the checkpoints of a worker are.
#[derive(Default)]
pub(crate) struct Checkpoints {
    /// The slot to go on with.
    at: Cell<Option<u64>>,
    discard_at: Cell<u64>,
    /// Retained messages to say again; the first worker does that.
    retained: RefCell<Option<Vec<Kept>>>,
    discard_retained_at: Cell<u64>,
}

impl Worker {
    /// Goes on with checkpoints, or begins one.
    pub(crate) fn attend_checkpoints(self: &Rc<Self>, now: u64) {
        if !self.hub.keeper.is_on() {
            return;
        }
        self.checkpoint_sessions(now);
        if self.id == 0 {
            self.checkpoint_retained(now);
        }
    }

    fn checkpoint_sessions(self: &Rc<Self>, now: u64) {
        let state = &self.hub.checkpoints;
        let is_due = state.discard_at.get() != 0 && now >= state.discard_at.get();
        if is_due && !self.hub.broker.borrow().is_parting() {
            state.discard_at.set(0);
            self.with_own_log(|log| log.discard_covered());
        }
        let begins = state.at.get().is_none() && self.with_own_log(|log| log.wants_checkpoint()) == Some(true);
        if begins && self.with_own_log(|log| log.begin_checkpoint().is_ok()) == Some(true) {
            state.at.set(Some(0));
        }
        while let Some(from) = state.at.get() {
            let next = self.with_broker(|broker, sink: &mut HubSink<'_>| broker.checkpoint(from, 1, sink));
            state.at.set(next);
            if self.with_own_log(|log| log.waiting()).is_some_and(|waiting| waiting > STEP_BYTES) {
                break;
            }
            if next.is_none() && self.with_own_log(|log| log.flush().is_ok()) == Some(true) {
                self.with_own_log(|log| log.end_checkpoint());
                state.discard_at.set(now + COVERED_MS);
            } else if next.is_none() {
                // It could not be written: what was said again is there twice, that is all.
                state.at.set(Some(0));
                break;
            }
        }
    }

    fn checkpoint_retained(&self, now: u64) {
        let (state, Some(store)) = (&self.hub.checkpoints, &self.hub.keeper.store) else { return };
        let mut log = store.retained.lock();
        if state.discard_retained_at.get() != 0 && now >= state.discard_retained_at.get() {
            state.discard_retained_at.set(0);
            log.discard_covered();
        }
        let mut rest = state.retained.borrow_mut();
        if rest.is_none() && log.wants_checkpoint() && log.begin_checkpoint().is_ok() {
            *rest = Some(self.shared.broker.retained().all());
        }
        let Some(kept) = rest.as_mut() else { return };
        for Kept { message, sequence } in kept.split_off(kept.len().saturating_sub(STEP_RETAINED)) {
            if self.shared.broker.retained().sequence(message.topic()) == Some(sequence) {
                log.append(&Record::Retain { message: &message, sequence });
                log.seal();
            }
        }
        if log.flush().is_ok() && kept.is_empty() {
            *rest = None;
            log.end_checkpoint();
            state.discard_retained_at.set(now + COVERED_MS);
        }
    }
}
