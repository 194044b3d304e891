//! Decisions of TypeScript policies: the filter, the cache, then the ring. Who asks
//! waits; everything else goes on.

mod asking;
mod table;

pub(crate) use asking::Asking;
pub(crate) use table::{DecisionTable, ask_handler, attend};

use crate::metrics::{PolicyCounters, PolicyOutcome};
use crate::plan::Script;
use crate::worker::{Worker, WorkerPlan};
use std::rc::Rc;
use std::sync::Arc;
use tidegate_message::View;
use tidegate_policy::{Decision, Edits, KeyInput};
use tidegate_ring::{Question, layout::SLOT_QUESTION_MAX};

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) enum Ruling {
    /// Go on: nothing was decided, and the fallback lets it pass.
    Continue,
    /// The fallback refuses.
    Refuse,
    /// Decided.
    Decided(Arc<Decision>),
    /// A login was right: the header that tells of it, and the user.
    Known(Option<Box<str>>, Box<str>),
    /// A login was wrong: the realm to ask for.
    Stranger(Box<str>),
}

/// What looking for a decision came to.
pub(crate) enum Sought {
    /// The filter does not match.
    Skipped,
    /// Decided already: from the cache, or by the fallback.
    Ruled(Ruling),
    /// TypeScript was asked.
    Asking(Asking),
}

/// Looks for a decision of `script`: the cheapest rung that has one.
pub(crate) fn seek<V: View>(
    worker: &Rc<Worker>,
    plan: &Rc<WorkerPlan>,
    (index, view, route, edits): (usize, &V, &str, &Edits),
) -> Sought {
    let Some(entry) = plan.plan.scripts.get(index) else { return Sought::Ruled(Ruling::Refuse) };
    let counters: &PolicyCounters = &entry.counters[usize::from(worker.id)];
    let Some(script) = &entry.script else {
        counters.count(PolicyOutcome::Error);
        return Sought::Ruled(fallback(entry));
    };
    if !script.applies(view) {
        counters.count(PolicyOutcome::Filtered);
        return Sought::Skipped;
    }
    let now_us = worker.clock.micros();
    let mut scratch = worker.buffers.take_write();
    let mut key = None;
    if let (Some(cache_key), Some(cache_plan)) = (&script.cache_key, &entry.cache) {
        let input = KeyInput { route, hash_key: edits.hash_key() };
        if cache_key.write(view, &input, &mut scratch) {
            if let Some(decision) = worker.decisions.cached(script.id, cache_plan, (now_us / 1_000, &scratch)) {
                counters.count(PolicyOutcome::Cached);
                worker.buffers.give_write(scratch);
                return Sought::Ruled(Ruling::Decided(decision));
            }
            key = Some(Box::from(&scratch[..]));
        }
    }
    let asked = match script.write_record(view, &mut scratch, SLOT_QUESTION_MAX) {
        true => {
            let question =
                Question { is_handler: false, target: script.id, plan: plan.plan.version as u32, bytes: &scratch };
            let ask = || table::ask(worker, &question, now_us / 1_000 + script.deadline_ms);
            match script.wants_payload {
                true => worker.shared.payloads.ask(worker.id, view.payload(), ask),
                false => ask(),
            }
        }
        false => None,
    };
    worker.buffers.give_write(scratch);
    match asked {
        Some(asked) => Sought::Asking(Asking {
            worker: Rc::clone(worker),
            asked,
            script: index,
            plan: Rc::clone(plan),
            key,
            asked_us: now_us,
        }),
        None => {
            counters.count(PolicyOutcome::Error);
            Sought::Ruled(fallback(entry))
        }
    }
}

fn fallback(entry: &Script) -> Ruling {
    if entry.refuses { Ruling::Refuse } else { Ruling::Continue }
}
