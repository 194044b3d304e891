//! What a worker keeps on disk, and what must wait for it. Every call of the broker that
//! appends gets a number; output that depends on it carries the number and leaves when
//! that far has been kept: written (`process`), or on the disk itself (`power`).

use super::{Between, MqttLink};
use crate::worker::{Level, Worker};
use parking_lot::Mutex;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use tidegate_broker::{Keeping, Record};
use tidegate_store::{Log, Pending, Syncer};
use tokio::sync::Notify;

/// Bytes that wait for a disk that does not take them; beyond, what would have to be kept is refused.
const WAITING_MAX: usize = 8 << 20;

/// What the workers of a gateway share of its store.
pub(crate) struct Store {
    /// Retained messages, which belong to no worker.
    pub(crate) retained: Mutex<Log>,
    /// Workers whose log is full, as bits.
    full: AtomicU64,
    /// Bytes in all logs, by worker; the last one is of the retained messages.
    pub(crate) bytes: Vec<AtomicU64>,
    /// Broken places found at the start.
    pub(crate) corrupt: u64,
}

impl Store {
    pub(crate) fn new(retained: Log, workers: usize, corrupt: u64) -> Self {
        let bytes = (0..=workers).map(|_| AtomicU64::new(0)).collect();
        Store { retained: Mutex::new(retained), full: AtomicU64::new(0), bytes, corrupt }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed) != 0
    }

    /// A worker says whether its log is full: whether that changes what all of them do.
    fn set_full(&self, worker: u16, is_full: bool) -> bool {
        let bit = 1_u64 << (worker % 64);
        let before = if is_full {
            self.full.fetch_or(bit, Ordering::Relaxed)
        } else {
            self.full.fetch_and(!bit, Ordering::Relaxed)
        };
        (before != 0) != self.is_full()
    }
}

/// What is to be said to another worker once it is kept here.
pub(crate) enum Owed {
    /// Its message with that id is in this log.
    Arrived(u64),
    /// Its session with that key is in this log.
    Parted(u64),
}

/// How far the syncing thread has come.
#[derive(Default)]
struct Synced {
    upto: AtomicU64,
    failed: AtomicU64,
    news: Notify,
}

/// One worker's log; without a data directory it does nothing.
#[derive(Default)]
pub(crate) struct Keeper {
    log: RefCell<Option<Log>>,
    pub(crate) store: Option<Arc<Store>>,
    has_retained: Cell<bool>,
    is_open: Cell<bool>,
    leaning: Cell<u64>,
    appended: Cell<u64>,
    written: Cell<u64>,
    /// Up to here output may leave; links between workers look at it too.
    pub(crate) kept: Rc<Cell<u64>>,
    held: RefCell<Vec<Rc<MqttLink>>>,
    owed: RefCell<VecDeque<(u64, u16, Owed)>>,
    wakers: RefCell<Vec<Waker>>,
    syncer: RefCell<Option<Syncer>>,
    synced: Arc<Synced>,
    is_failing: Cell<bool>,
}

impl Keeper {
    pub(crate) fn new(kept: Option<(Log, Arc<Store>)>) -> Self {
        let (log, store) = kept.unzip();
        Keeper { log: RefCell::new(log), store, ..Keeper::default() }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.store.is_some()
    }

    /// The number of the call that appended last.
    pub(crate) fn appended(&self) -> u64 {
        self.appended.get()
    }

    /// The number that what this call puts out depends on; 0: on nothing.
    pub(crate) fn needs(&self) -> u64 {
        if self.is_open.get() { self.appended.get() + 1 } else { self.leaning.get() }
    }

    /// Until the next `lean`, output depends on that number at least.
    pub(crate) fn lean(&self, number: u64) {
        self.leaning.set(number);
    }

    fn with_log(&self, act: impl FnOnce(&mut Log)) {
        if let Some(log) = self.log.borrow_mut().as_mut() {
            act(log);
            self.is_open.set(true);
        }
    }

    pub(crate) fn append(&self, record: &Record<'_>, broker: &tidegate_broker::Shared) {
        let (Record::Retain { message, sequence }, Some(store)) = (record, &self.store) else {
            return self.with_log(|log| log.append(record));
        };
        let mut log = store.retained.lock();
        // A newer one is in memory already and will be appended, or has been: with this
        // check under the lock, the last of a topic in the log is its last in memory.
        let known = broker.retained().sequence(message.topic());
        if known.is_none_or(|known| known == *sequence) {
            log.append(record);
            log.seal();
            self.has_retained.set(true);
            self.is_open.set(true);
        }
    }

    pub(crate) fn outgoing(&self, pending: Pending) {
        self.with_log(|log| log.outgoing(pending));
    }

    pub(crate) fn taken(&self, id: u64) {
        self.with_log(|log| log.taken(id));
    }

    /// Another worker has what left for it. Nobody waits for this to be kept.
    pub(crate) fn arrived(&self, worker: u16, id: u64) {
        if let Some(log) = self.log.borrow_mut().as_mut() {
            log.arrived(worker, id);
        }
    }

    /// A call of the broker is over: what it appended is kept whole or not at all.
    /// Whether there was something.
    pub(crate) fn seal(&self) -> bool {
        if !self.is_open.replace(false) {
            return false;
        }
        if let Some(log) = self.log.borrow_mut().as_mut() {
            log.seal();
        }
        self.appended.set(self.appended.get() + 1);
        true
    }

    /// Says something to another worker when all that was appended so far is kept.
    pub(crate) fn owe(&self, worker: u16, owed: Owed) {
        self.owed.borrow_mut().push_back((self.appended.get().max(self.needs()), worker, owed));
    }

    /// A link whose output depends on what is not kept yet.
    pub(crate) fn hold(&self, link: &Rc<MqttLink>) {
        self.held.borrow_mut().push(Rc::clone(link));
    }

    /// Whether there is something to write.
    pub(crate) fn is_dirty(&self) -> bool {
        self.appended.get() > self.written.get() && !self.is_failing.get()
    }

    /// From now on each flush ends on the disk itself, or does not.
    pub(crate) fn set_power(&self, worker: u16, power: bool) {
        let is_on = self.syncer.borrow().is_some();
        if !self.is_on() || is_on == power {
            return;
        }
        if !power {
            // Its thread finishes what was asked for.
            self.syncer.borrow_mut().take();
            return;
        }
        let synced = Arc::clone(&self.synced);
        let started = Syncer::start(format!("tidegate-sync-{worker}"), move |result| {
            match result {
                Ok(upto) => synced.upto.store(upto, Ordering::Release),
                Err(_) => drop(synced.failed.fetch_add(1, Ordering::Relaxed)),
            }
            synced.news.notify_one();
        });
        *self.syncer.borrow_mut() = started.ok();
    }

    /// Writes what gathered.
    fn write(&self) -> std::io::Result<()> {
        let (mut log, Some(store)) = (self.log.borrow_mut(), &self.store) else { return Ok(()) };
        let Some(log) = log.as_mut() else { return Ok(()) };
        log.seal();
        log.flush()?;
        let syncer = self.syncer.borrow();
        let mut files = log.take_dirty();
        if self.has_retained.get() {
            let mut retained = store.retained.lock();
            retained.flush()?;
            // Another worker may have written this worker's part: its file is synced by both.
            files.extend(syncer.is_some().then(|| retained.written_files()).into_iter().flatten());
            self.has_retained.set(false);
        }
        self.written.set(self.appended.get());
        match &*syncer {
            Some(syncer) if !files.is_empty() => syncer.request(files, self.written.get()),
            Some(_) => {}
            None => self.kept.set(self.written.get()),
        }
        Ok(())
    }

    /// Says it to everybody when there is no room, or room again.
    fn tell_room(&self, worker: &Worker) {
        let (log, Some(store)) = (self.log.borrow(), &self.store) else { return };
        let Some(log) = log.as_ref() else { return };
        let is_full = self.is_failing.get() || log.is_full() || log.waiting() > WAITING_MAX || {
            let retained = store.retained.try_lock();
            retained.is_some_and(|retained| retained.is_full())
        };
        if store.set_full(worker.id, is_full) {
            worker.shared.broker.set_keeping(if is_full { Keeping::Full } else { Keeping::Yes });
            let text = if is_full {
                "the data directory has no room: publishes that would have to be kept are refused"
            } else {
                "the data directory has room again"
            };
            worker.log(Level::Warn, text);
        }
    }
}

impl Worker {
    /// Writes what was appended, and lets out what waited for it. Output that depends on
    /// what cannot be written stays.
    pub(crate) fn flush_log(&self) {
        let keeper = &self.hub.keeper;
        if !keeper.is_on() {
            return;
        }
        let result = keeper.write();
        if let Err(error) = &result
            && !keeper.is_failing.get()
        {
            self.log(Level::Error, &format!("the log cannot be written: {error}"));
        }
        keeper.is_failing.set(result.is_err());
        keeper.tell_room(self);
        self.let_out();
    }

    /// Lets out what is kept.
    fn let_out(&self) {
        let keeper = &self.hub.keeper;
        let kept = keeper.kept.get();
        loop {
            let is_due = keeper.owed.borrow().front().is_some_and(|(number, _, _)| *number <= kept);
            let next = if is_due { keeper.owed.borrow_mut().pop_front() } else { None };
            let Some((_, worker, owed)) = next else { break };
            self.hub.links.send(
                worker,
                match owed {
                    Owed::Arrived(id) => Between::Arrived(id),
                    Owed::Parted(key) => Between::Parted(key),
                },
            );
        }
        self.hub.links.wake();
        let held = std::mem::take(&mut *keeper.held.borrow_mut());
        held.iter().for_each(|link| self.hub.flusher.mark(link));
        keeper.wakers.borrow_mut().drain(..).for_each(Waker::wake);
    }

    /// Waits until what the call with that number appended is kept.
    pub(crate) async fn kept(&self, number: u64) {
        poll_fn(|cx| {
            if self.hub.keeper.kept.get() >= number {
                return Poll::Ready(());
            }
            self.hub.keeper.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Looks whether the disk has room again, and writes what nobody waits for.
    pub(crate) fn attend_log(&self) {
        let keeper = &self.hub.keeper;
        let Some(store) = &keeper.store else { return };
        if let Some(log) = keeper.log.borrow_mut().as_mut() {
            log.retry();
            store.bytes[usize::from(self.id)].store(log.bytes(), Ordering::Relaxed);
        }
        if self.id == 0 {
            let mut retained = store.retained.lock();
            retained.retry();
            if let Some(bytes) = store.bytes.last() {
                bytes.store(retained.bytes(), Ordering::Relaxed);
            }
        }
        self.flush_log();
    }

    /// All logs together may take so many bytes; each gets its share.
    pub(crate) fn limit_log(&self, max_bytes: u64) {
        let Some(store) = &self.hub.keeper.store else { return };
        let share = max_bytes / store.bytes.len() as u64;
        self.with_own_log(|log| log.limit(share));
        store.retained.lock().limit(share);
    }

    /// The worker's own log, for checkpoints.
    pub(crate) fn with_own_log<T>(&self, act: impl FnOnce(&mut Log) -> T) -> Option<T> {
        self.hub.keeper.log.borrow_mut().as_mut().map(act)
    }
}

/// Hears from the syncing thread.
pub(crate) async fn attend_sync(worker: Rc<Worker>) {
    let keeper = &worker.hub.keeper;
    loop {
        keeper.synced.news.notified().await;
        if keeper.synced.failed.swap(0, Ordering::Relaxed) > 0 {
            // What the system lost of it cannot be known: nothing that depends on it leaves.
            worker.log(Level::Error, "the log cannot be brought to the disk; acknowledgements wait");
        }
        let upto = keeper.synced.upto.load(Ordering::Acquire);
        keeper.kept.set(upto.max(keeper.kept.get()));
        worker.let_out();
    }
}
