//! Copies of requests for an upstream whose answers are thrown away. A request that is at hand
//! when it was sent is copied whole; of a longer one each part is passed on when it
//! has been sent. Nobody waits for a mirror: what it cannot take in time ends its copy.

use super::exchange::RequestSide;
use super::failure::Flag;
use super::fetch::{Fetch, fetch_flowing};
use crate::access::Seen;
use crate::client::Client;
use crate::worker::{Worker, WorkerPlan};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tidegate_message::Protocol;
use tokio::sync::{Mutex, mpsc, oneshot};

thread_local! {
    static COPIES: Cell<usize> = const { Cell::new(0) };
    static WAITING: Cell<usize> = const { Cell::new(0) };
}

/// What becomes of a request's copy.
pub(crate) enum Mirror {
    /// This upstream gets one, once the request was sent.
    Wanted(usize),
    /// It is under way: the rest follows as it is sent.
    Flowing(Box<Flow>),
}

/// A request whose parts so far were sent, and the exchange's own.
pub(crate) type Sent<'s> = (&'s Rc<WorkerPlan>, &'s mut RequestSide, Option<&'s Seen>);

impl Mirror {
    /// What is in hand was sent, and more will follow. `None`: there is no copy any more, which was counted.
    pub(super) fn part_sent(self, client: &Client, (plan, request, seen): Sent<'_>) -> Option<Mirror> {
        let part = std::mem::take(&mut request.out);
        let mut flow = match self {
            Mirror::Wanted(upstream) => return begin(client, (plan, upstream), (part, seen)).map(Mirror::Flowing),
            Mirror::Flowing(flow) => flow,
        };
        flow.pass_on((&client.worker, plan), part).then_some(Mirror::Flowing(flow))
    }

    /// All of it was sent.
    pub(super) fn all_sent(self, client: &Client, (plan, request, seen): Sent<'_>) {
        let flow = match self {
            Mirror::Wanted(upstream) => begin(client, (plan, upstream), (request.out.clone(), seen)),
            Mirror::Flowing(mut flow) => flow.pass_on((&client.worker, plan), request.out.clone()).then_some(flow),
        };
        if let Some(flow) = flow {
            flow.state.is_whole.set(true);
            let _ = flow.end.send(());
        }
    }
}

/// Begins a copy by its head and what there is of its body.
fn begin(
    client: &Client,
    (plan, upstream): (&Rc<WorkerPlan>, usize),
    (mut raw, seen): (Vec<u8>, Option<&Seen>),
) -> Option<Box<Flow>> {
    let (worker, limits) = (&client.worker, &plan.plan.limits);
    let state = Rc::new(State::default());
    if COPIES.get() >= limits.mirror_copies || WAITING.get() + raw.len() > limits.mirror_total_bytes {
        worker.dropped(Protocol::Http1, "mirror-overflow");
        return None;
    }
    state.wait(raw.len());
    let method = ["GET", "HEAD", "PUT", "DELETE"].into_iter().find(|known| raw.starts_with(known.as_bytes()));
    if let Some(seen) = seen {
        seen.name_own_span(&mut raw);
    }
    let copy = Fetch {
        // Others are never sent twice.
        method: method.unwrap_or("POST"),
        raw,
        source: Some(client.peer.address.ip()),
        timeout_ms: limits.mirror_timeout_ms,
        discards: true,
        ..Fetch::default()
    };
    let (parts, rest) = mpsc::unbounded_channel();
    let (end, ended) = oneshot::channel();
    let rest = Rest { parts: Mutex::new(rest), ended: Mutex::new(ended), state: Rc::clone(&state) };
    let (worker, plan) = (Rc::clone(worker), Rc::clone(plan));
    let place = Place::take();
    tokio::task::spawn_local(async move {
        let _place = place;
        let result = fetch_flowing(&worker, (&plan, upstream), (&copy, &rest)).await;
        if matches!(result, Err(Flag::ClientGone)) {
            worker.dropped(Protocol::Http1, "mirror-cut-off");
        }
    });
    Some(Box::new(Flow { parts, end, state }))
}

/// A place among the copies of a worker.
struct Place;

impl Place {
    fn take() -> Place {
        COPIES.set(COPIES.get() + 1);
        Place
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        COPIES.set(COPIES.get() - 1);
    }
}

/// What both ends of a copy know.
#[derive(Default)]
struct State {
    /// Bytes that wait; the first part of the copy does to its end.
    waiting: Cell<usize>,
    is_whole: Cell<bool>,
    is_taken: Cell<bool>,
    is_late: Cell<bool>,
}

impl State {
    fn wait(&self, bytes: usize) {
        self.waiting.set(self.waiting.get() + bytes);
        WAITING.set(WAITING.get() + bytes);
    }

    fn leave(&self, bytes: usize) {
        self.waiting.set(self.waiting.get() - bytes);
        WAITING.set(WAITING.get() - bytes);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.leave(self.waiting.get());
    }
}

/// The request's end of a copy. Dropped without a word, it ends the copy: the request came to no good end.
pub(crate) struct Flow {
    parts: mpsc::UnboundedSender<Vec<u8>>,
    end: oneshot::Sender<()>,
    state: Rc<State>,
}

impl Flow {
    /// `false`: the mirror is gone, or so far behind that it is given up.
    fn pass_on(&mut self, (worker, plan): (&Worker, &WorkerPlan), part: Vec<u8>) -> bool {
        let limits = &plan.plan.limits;
        let reason = match part.len() {
            bytes if self.state.waiting.get() + bytes > limits.mirror_copy_bytes => "mirror-too-slow",
            bytes if WAITING.get() + bytes > limits.mirror_total_bytes => "mirror-overflow",
            bytes => {
                self.state.wait(bytes);
                return self.parts.send(part).is_ok();
            }
        };
        worker.dropped(Protocol::Http1, reason);
        self.state.is_late.set(true);
        false
    }
}

/// The mirror's end of a copy.
pub(crate) struct Rest {
    parts: Mutex<mpsc::UnboundedReceiver<Vec<u8>>>,
    ended: Mutex<oneshot::Receiver<()>>,
    state: Rc<State>,
}

impl Rest {
    /// The next part. `None`: there is none, [`Rest::is_whole`] says why.
    pub(super) async fn next(&self) -> Option<Vec<u8>> {
        let part = self.parts.lock().await.recv().await;
        self.state.is_taken.set(self.state.is_taken.get() || part.is_some());
        part
    }

    /// Whether a part was taken, so that the copy cannot be begun again.
    pub(super) fn was_taken(&self) -> bool {
        self.state.is_taken.get()
    }

    /// A part of so many bytes was sent.
    pub(super) fn sent(&self, bytes: usize) {
        self.state.leave(bytes);
    }

    pub(super) fn is_whole(&self) -> bool {
        self.state.is_whole.get()
    }

    /// Waits until the copy is given up, or its time is over, which begins at the request's end.
    pub(super) async fn given_up(&self, timeout_ms: u64) -> Flag {
        let ended = (&mut *self.ended.lock().await).await;
        if ended.is_ok() {
            tokio::time::sleep(Duration::from_millis(timeout_ms)).await;
        }
        if ended.is_ok() || self.state.is_late.get() { Flag::Timeout } else { Flag::ClientGone }
    }
}
