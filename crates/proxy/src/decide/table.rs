//! A worker's questions on the ring and who waits for their answers. Late answers find
//! nobody and are dropped.

use crate::worker::Worker;
use foldhash::fast::RandomState;
use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;
use tidegate_message::Protocol;
use tidegate_policy::{CachePlan, Decision, VerdictCache};
use tidegate_ring::{Answer, Asked, Decisions, Question};

/// Uses of a slot before its generations could meet those of the ring behind it.
const GENERATION_BITS: u32 = 20;

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
    /// the question, and whoever asks the wait. JavaScript that had read everything is woken
    /// behind this turn.
    fn put(&self, worker: &Worker, question: &Question<'_>) -> Option<Asked> {
        if !worker.shared.has_policy_thread(worker.id) {
            return None;
        }
        let bound_ms = worker.plan.borrow().plan.limits.shed_loop_lag_ms;
        if bound_ms > 0 && self.lag_ms(worker.clock.millis()) > bound_ms {
            worker.dropped(Protocol::Internal, "shed-loop-lag");
            return None;
        }
        let (asked, wake) = self.ring.borrow_mut().as_mut()?.ask(question)?;
        if bound_ms > 0 {
            self.lag_ms(worker.clock.millis());
        }
        if wake {
            self.wake_due.set(true);
            worker.shared.kicks[usize::from(worker.id)].notify_one();
        }
        Some(asked)
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

    /// What `script` has decided of `key` before, if that holds at `now_ms`.
    pub(super) fn cached(&self, script: u32, plan: &CachePlan, (now_ms, key): (u64, &[u8])) -> Option<Arc<Decision>> {
        let mut caches = self.caches.borrow_mut();
        let cache = caches.entry(script).or_insert_with(|| VerdictCache::new(plan));
        cache.find(now_ms, key).cloned()
    }

    /// Keeps what `script` decided, if anything of it is kept.
    pub(super) fn keep(&self, script: u32, now_ms: u64, (key, decision): (&[u8], &Arc<Decision>)) {
        if let Some(cache) = self.caches.borrow_mut().get_mut(&script) {
            cache.keep(now_ms, key, Arc::clone(decision));
        }
    }

    pub(super) fn unchanged(&self) -> Arc<Decision> {
        Arc::clone(&self.unchanged)
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

/// Puts a question on the ring. `None`: nobody is there to answer, or the table is full.
pub(super) fn ask(worker: &Worker, question: &Question<'_>, deadline_ms: u64) -> Option<Asked> {
    let table = &worker.decisions;
    if table.waiters.borrow().len() >= worker.plan().plan.limits.max_decisions {
        return None;
    }
    let asked = table.put(worker, question)?;
    table.waiters.borrow_mut().insert(asked, Waiter::until(deadline_ms));
    let mut deadlines = table.deadlines.borrow_mut();
    let is_next = deadlines.peek().is_none_or(|Reverse((next, ..))| deadline_ms < *next);
    deadlines.push(Reverse((deadline_ms, asked.slot, asked.generation)));
    if is_next {
        worker.shared.kicks[usize::from(worker.id)].notify_one();
    }
    Some(asked)
}

/// Puts a handler's question on the ring; whoever asks minds the deadline, and the
/// slot is free again when the reply has come, late or not.
pub(crate) fn ask_handler(worker: &Worker, question: &Question<'_>) -> Option<Asked> {
    worker.decisions.put(worker, question)
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
pub(super) async fn wait(worker: &Worker, asked: &mut Asked) -> Result<Option<Box<[u8]>>, ()> {
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
