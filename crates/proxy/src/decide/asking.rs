//! A question to TypeScript on its way, and the ruling that it comes to.

use super::{Ruling, fallback, table};
use crate::hooks::Payloads;
use crate::metrics::PolicyOutcome;
use crate::worker::{Level, Worker, WorkerPlan};
use std::rc::Rc;
use std::sync::Arc;
use tidegate_policy::Decision;
use tidegate_ring::Asked;

/// A question on its way.
pub(crate) struct Asking {
    pub(super) worker: Rc<Worker>,
    pub(super) asked: Asked,
    pub(super) script: usize,
    pub(super) plan: Rc<WorkerPlan>,
    pub(super) key: Option<Box<[u8]>>,
    pub(super) asked_us: u64,
}

impl Asking {
    /// Waits for the ruling: what was decided, or what the fallback says.
    pub(crate) async fn ruling(self) -> Ruling {
        self.ruling_and_payload().await.0
    }

    /// The same, with the payload that the policy put in place of the message's.
    pub(crate) async fn ruling_and_payload(mut self) -> (Ruling, Option<Vec<u8>>) {
        let answer = table::wait(&self.worker, &mut self.asked).await;
        let payload = self.kept_payload().and_then(|payloads| payloads.take(self.worker.id, self.asked));
        (self.rule(answer), payload)
    }

    /// Where its payload is kept, if the policy may ask for one.
    fn kept_payload(&self) -> Option<&Payloads> {
        let script = self.plan.plan.scripts[self.script].script.as_ref();
        script.filter(|script| script.wants_payload).map(|_| &self.worker.shared.payloads)
    }

    fn rule(&self, answer: Result<Option<Box<[u8]>>, ()>) -> Ruling {
        let entry = &self.plan.plan.scripts[self.script];
        let counters = &entry.counters[usize::from(self.worker.id)];
        counters.duration.observe(self.worker.clock.micros().saturating_sub(self.asked_us));
        let decision = match answer {
            Ok(Some(bytes)) if bytes.is_empty() => Ok(self.worker.decisions.unchanged()),
            Ok(Some(bytes)) => Decision::decode(&bytes).map(Arc::new),
            Ok(None) => {
                counters.count(PolicyOutcome::Error);
                return fallback(entry);
            }
            Err(()) => {
                counters.count(PolicyOutcome::Timeout);
                return fallback(entry);
            }
        };
        match decision {
            Ok(decision) => {
                counters.count(PolicyOutcome::Decided);
                self.keep(&decision);
                Ruling::Decided(decision)
            }
            Err(error) => {
                counters.count(PolicyOutcome::Error);
                let policy = entry.script.as_ref().map_or("?", |script| &script.policy);
                self.worker.log(Level::Warn, &format!("policy {policy} returned no decision: {error}"));
                fallback(entry)
            }
        }
    }

    fn keep(&self, decision: &Arc<Decision>) {
        let entry = &self.plan.plan.scripts[self.script];
        let (Some(key), Some(script)) = (&self.key, &entry.script) else { return };
        // Decided by code that is no longer in force.
        if !Rc::ptr_eq(&self.plan, &self.worker.plan()) {
            return;
        }
        self.worker.decisions.keep(script.id, self.worker.clock.millis(), (key, decision));
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        // Whoever asked is gone, or has what there was.
        if let Some(payloads) = self.kept_payload() {
            payloads.take(self.worker.id, self.asked);
        }
    }
}
