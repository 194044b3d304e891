//! Decisions of TypeScript policies: the filter, the cache, then the ring. Who asks
//! waits; everything else goes on. Late answers find nobody and are dropped.

use crate::hooks::Payloads;
use crate::metrics::{PolicyCounters, PolicyOutcome};
use crate::plan::Script;
use crate::worker::{Level, Worker, WorkerPlan};
use foldhash::fast::RandomState;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use tidegate_message::{Protocol, View};
use tidegate_policy::{Decision, Edits, KeyInput, VerdictCache};
use tidegate_ring::{Answer, Asked, Decisions, Question, layout::SLOT_QUESTION_MAX};

/// Uses of a slot before its generations could meet those of the ring behind it.
const GENERATION_BITS: u32 = 20;

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

/// A question on its way.
pub(crate) struct Asking {
    worker: Rc<Worker>,
    asked: Asked,
    script: usize,
    plan: Rc<WorkerPlan>,
    key: Option<Box<[u8]>>,
    asked_us: u64,
}

/// Somebody who waits for an answer.
struct Waiter {
    deadline_ms: u64,
    answer: Option<Option<Box<[u8]>>>,
    has_expired: bool,
    waker: Option<Waker>,
    /// Where the question stands since another policy thread took over.
    moved: Option<Asked>,
}

type Waiters = HashMap<Asked, Waiter, RandomState>;

impl Waiter {
    fn until(deadline_ms: u64) -> Self {
        Waiter { deadline_ms, answer: None, has_expired: false, waker: None, moved: None }
    }
}

/// A worker's questions.
pub(crate) struct DecisionTable {
    ring: RefCell<Option<Decisions>>,
    /// Rings so far.
    rings: Cell<u32>,
    waiters: RefCell<Waiters>,
    deadlines: RefCell<BinaryHeap<Reverse<(u64, u32, u32)>>>,
    /// JavaScript had read everything before a question of this turn: it is woken once, behind all of them.
    wake_due: Cell<bool>,
    /// A question that JavaScript has not taken, and since when that is known.
    unread: Cell<Option<(u32, u64)>>,
    /// Verdict caches by script id and policy, kept while the plan is.
    caches: RefCell<HashMap<u32, VerdictCache>>,
    /// What most policies decide most of the time.
    unchanged: Arc<Decision>,
}

impl Default for DecisionTable {
    fn default() -> Self {
        DecisionTable {
            ring: RefCell::default(),
            rings: Cell::default(),
            waiters: RefCell::default(),
            deadlines: RefCell::default(),
            wake_due: Cell::default(),
            unread: Cell::default(),
            caches: RefCell::default(),
            unchanged: Arc::new(Decision::unchanged()),
        }
    }
}

impl DecisionTable {
    /// Takes a new policy thread's ring, or none. What the one before has not answered
    /// is asked again there; without a new one whoever waits gets the fallback now.
    pub(crate) fn attach(&self, worker: &Worker, ring: Option<Decisions>) {
        self.collect();
        let before = self.ring.replace(ring);
        self.unread.set(None);
        self.rings.set(self.rings.get().wrapping_add(1));
        if let Some(ring) = self.ring.borrow_mut().as_mut() {
            ring.begin(self.rings.get() << GENERATION_BITS);
        }
        if let Some(before) = before {
            self.hand_over(worker, before);
            worker.shared.wake_policies(worker.id);
        }
    }

    /// How long the event loop of JavaScript has not come to its questions, milliseconds. How
    /// long it takes for an answer says nothing: a function may wait for others.
    fn lag_ms(&self, now_ms: u64) -> u64 {
        let ring = self.ring.borrow();
        let Some((head, tail)) = ring.as_ref().map(Decisions::progress) else { return 0 };
        let known = self.unread.get().filter(|(at, _)| at.wrapping_sub(tail) as i32 >= 0);
        let unread = (head != tail).then(|| known.unwrap_or((tail, now_ms)));
        self.unread.set(unread);
        unread.map_or(0, |(_, since)| now_ms.saturating_sub(since))
    }

    /// Puts a question on the ring, unless JavaScript is too late already: then it is spared
    /// the question, and whoever asks the wait.
    fn put(&self, worker: &Worker, question: &Question<'_>) -> Option<(Asked, bool)> {
        let bound_ms = worker.plan.borrow().plan.limits.shed_loop_lag_ms;
        if bound_ms > 0 && self.lag_ms(worker.clock.millis()) > bound_ms {
            worker.dropped(Protocol::Internal, "shed-loop-lag");
            return None;
        }
        let asked = self.ring.borrow_mut().as_mut()?.ask(question);
        if bound_ms > 0 {
            self.lag_ms(worker.clock.millis());
        }
        asked
    }

    fn hand_over(&self, worker: &Worker, mut before: Decisions) {
        let mut bytes = Vec::new();
        for asked in before.reset() {
            let question = before.question(asked, &mut bytes);
            let ask = || Some(self.ring.borrow_mut().as_mut()?.ask(&question)?.0);
            if question.is_handler {
                worker.shared.handlers.hand_over(worker.id, asked, ask);
            } else if self.waiters.borrow().contains_key(&asked) {
                self.redirect(worker, asked, ask());
            }
        }
    }

    /// Whoever waits at `from` waits at `to`, or not any more.
    fn redirect(&self, worker: &Worker, from: Asked, to: Option<Asked>) {
        let mut waiters = self.waiters.borrow_mut();
        let Some(waiter) = waiters.get_mut(&from) else { return };
        let waker = waiter.waker.take();
        let deadline_ms = waiter.deadline_ms;
        match to {
            Some(to) => {
                waiter.moved = Some(to);
                worker.shared.payloads.redirect(worker.id, from, to);
                self.deadlines.borrow_mut().push(Reverse((deadline_ms, to.slot, to.generation)));
                waiters.insert(to, Waiter { waker, ..Waiter::until(deadline_ms) });
            }
            None => {
                waiter.answer = Some(None);
                waker.into_iter().for_each(Waker::wake);
            }
        }
    }

    /// A new plan may mean new code: what was decided before does not hold any more.
    pub(crate) fn forget_verdicts(&self) {
        self.caches.borrow_mut().clear();
    }

    /// Hands answers to whoever waits for them.
    fn collect(&self) {
        let mut ring = self.ring.borrow_mut();
        let Some(ring) = ring.as_mut() else { return };
        let mut waiters = self.waiters.borrow_mut();
        ring.answers(|asked, answer, bytes| {
            if let Some(waiter) = waiters.get_mut(&asked) {
                waiter.answer = Some((answer == Answer::Verdict).then(|| Box::from(bytes)));
                waiter.waker.take().into_iter().for_each(Waker::wake);
            }
        });
    }

    /// Wakes those whose time is over; milliseconds until the next one's is.
    fn expire(&self, now_ms: u64) -> Option<u64> {
        let mut deadlines = self.deadlines.borrow_mut();
        let mut waiters = self.waiters.borrow_mut();
        while let Some(Reverse((deadline, slot, generation))) = deadlines.peek().copied() {
            let waiter = waiters.get_mut(&Asked { slot, generation });
            match waiter {
                Some(_) if deadline > now_ms => return Some(deadline - now_ms),
                Some(waiter) => {
                    waiter.has_expired = true;
                    waiter.waker.take().into_iter().for_each(Waker::wake);
                }
                None => {}
            }
            deadlines.pop();
        }
        None
    }
}

/// Runs beside the connections: wakes JavaScript behind a turn's questions, takes answers when it kicks, and
/// minds deadlines.
pub(crate) async fn attend(worker: Rc<Worker>) {
    let shared = Arc::clone(&worker.shared);
    let kick = &shared.kicks[usize::from(worker.id)];
    loop {
        let wait = worker.decisions.expire(worker.clock.millis());
        let notified = kick.notified();
        match wait {
            Some(ms) => {
                let _ = tokio::time::timeout(Duration::from_millis(ms.max(1)), notified).await;
            }
            None => notified.await,
        }
        if worker.decisions.wake_due.take() {
            shared.wake_policies(worker.id);
        }
        worker.decisions.collect();
        let finished = shared.handlers.take_finished(worker.id);
        if let Some(ring) = worker.decisions.ring.borrow_mut().as_mut() {
            finished.into_iter().for_each(|asked| ring.release(asked));
        }
    }
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
            let mut caches = worker.decisions.caches.borrow_mut();
            let cache = caches.entry(script.id).or_insert_with(|| VerdictCache::new(cache_plan));
            if let Some(decision) = cache.find(now_us / 1_000, &scratch) {
                counters.count(PolicyOutcome::Cached);
                let decision = Arc::clone(decision);
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
            let ask = || ask(worker, &question, now_us / 1_000 + script.deadline_ms);
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

/// Puts a question on the ring. `None`: nobody is there to answer, or the table is full.
pub(crate) fn ask(worker: &Worker, question: &Question<'_>, deadline_ms: u64) -> Option<Asked> {
    let table = &worker.decisions;
    if !worker.shared.has_policy_thread(worker.id)
        || table.waiters.borrow().len() >= worker.plan().plan.limits.max_decisions
    {
        return None;
    }
    let (asked, wake) = table.put(worker, question)?;
    table.waiters.borrow_mut().insert(asked, Waiter::until(deadline_ms));
    let mut deadlines = table.deadlines.borrow_mut();
    let is_next = deadlines.peek().is_none_or(|Reverse((next, ..))| deadline_ms < *next);
    deadlines.push(Reverse((deadline_ms, asked.slot, asked.generation)));
    if wake {
        table.wake_due.set(true);
    }
    if is_next || wake {
        worker.shared.kicks[usize::from(worker.id)].notify_one();
    }
    Some(asked)
}

/// Puts a handler's question on the ring; whoever asks minds the deadline, and the
/// slot is free again when the reply has come, late or not.
pub(crate) fn ask_handler(worker: &Worker, question: &Question<'_>) -> Option<Asked> {
    if !worker.shared.has_policy_thread(worker.id) {
        return None;
    }
    let (asked, _) = worker.decisions.put(worker, question)?;
    Some(asked)
}

/// A waiter's place in the table, left also when whoever asked goes away.
struct Place<'w> {
    waiters: &'w RefCell<Waiters>,
    asked: Asked,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut next = Some(self.asked);
        while let Some(asked) = next {
            next = self.waiters.borrow_mut().remove(&asked).and_then(|waiter| waiter.moved);
        }
    }
}

/// Waits for an answer; `asked` follows a question to another thread's ring. `Ok(None)`:
/// the policy failed; `Err`: its time is over.
async fn wait(worker: &Worker, asked: &mut Asked) -> Result<Option<Box<[u8]>>, ()> {
    let _place = Place { waiters: &worker.decisions.waiters, asked: *asked };
    poll_fn(|cx| {
        let mut waiters = worker.decisions.waiters.borrow_mut();
        while let Some(to) = waiters.get(asked).and_then(|waiter| waiter.moved) {
            *asked = to;
        }
        let Some(waiter) = waiters.get_mut(asked) else { return Poll::Ready(Err(())) };
        if let Some(answer) = waiter.answer.take() {
            return Poll::Ready(Ok(answer));
        }
        if waiter.has_expired || worker.clock.millis() > waiter.deadline_ms {
            return Poll::Ready(Err(()));
        }
        waiter.waker = Some(cx.waker().clone());
        Poll::Pending
    })
    .await
}

impl Asking {
    /// Waits for the ruling: what was decided, or what the fallback says.
    pub(crate) async fn ruling(self) -> Ruling {
        self.ruling_and_payload().await.0
    }

    /// The same, with the payload that the policy put in place of the message's.
    pub(crate) async fn ruling_and_payload(mut self) -> (Ruling, Option<Vec<u8>>) {
        let answer = wait(&self.worker, &mut self.asked).await;
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
            Ok(Some(bytes)) if bytes.is_empty() => Ok(Arc::clone(&self.worker.decisions.unchanged)),
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
        if let Some(cache) = self.worker.decisions.caches.borrow_mut().get_mut(&script.id) {
            cache.keep(self.worker.clock.millis(), key, Arc::clone(decision));
        }
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

fn fallback(entry: &Script) -> Ruling {
    if entry.refuses { Ruling::Refuse } else { Ruling::Continue }
}
