//! A gateway with a data directory starts with what the one before it had promised:
//! read, dealt out to the workers, said again in new logs, and only then is anything
//! accepted.

use crate::gateway::{Gateway, GatewayError};
use crate::pubsub::Store;
use crate::worker::{Clock, Control, Worker};
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_broker::{Keeping, Record, StoredDelayed, StoredSession};
use tidegate_store::{Generation, Log, LogOptions, Recovered};
use tokio::sync::oneshot;

/// Bytes of a log's segments, claimed one at a time.
const SEGMENT_BYTES: usize = 16 << 20;

/// An opened data directory.
pub(crate) struct Opened {
    generation: Generation,
    sessions: Vec<StoredSession>,
    delayed: Vec<StoredDelayed>,
    places: Vec<String>,
    pub(crate) store: Arc<Store>,
}

/// Reads the data directory and puts the retained messages into memory.
///
/// # Errors
/// `STORE`: a file cannot be read or written.
pub(crate) fn open(
    folder: &Path,
    (clock, workers): (&Clock, usize),
    broker: &tidegate_broker::Shared,
) -> Result<Opened, GatewayError> {
    let options = LogOptions { segment_bytes: SEGMENT_BYTES, max_bytes: u64::MAX, epoch_ms: clock.epoch_ms() };
    let (generation, recovered) = Generation::open(folder, options).map_err(failed)?;
    let Recovered { sessions, retained, delayed, corrupt, corrupt_places, .. } = recovered;
    broker.set_keeping(Keeping::Yes);
    let mut log = generation.retained_log();
    for (message, sequence) in &retained {
        broker.retained().restore(message, *sequence);
        log.append(&Record::Retain { message, sequence: *sequence });
        log.seal();
    }
    log.flush().and_then(|()| sync(&mut log)).map_err(unwritten)?;
    let store = Arc::new(Store::new(log, workers, corrupt as u64));
    Ok(Opened { generation, sessions, delayed, places: corrupt_places, store })
}

fn failed(error: tidegate_store::StoreError) -> GatewayError {
    GatewayError { code: "STORE", message: format!("the data directory: {error}") }
}

fn unwritten(error: std::io::Error) -> GatewayError {
    GatewayError { code: "STORE", message: format!("the data directory cannot be written: {error}") }
}

fn sync(log: &mut Log) -> std::io::Result<()> {
    log.take_dirty().iter().try_for_each(|file| file.sync_data())
}

impl Opened {
    pub(crate) fn log(&self, worker: u16) -> Log {
        self.generation.worker_log(worker)
    }

    /// Gives every worker its sessions; when all of it is on the disk, older files go.
    pub(crate) fn restore(self, gateway: &Gateway) -> Result<(), GatewayError> {
        let mut dealt: Vec<Dealt> = (0..gateway.workers.len()).map(|_| Dealt::default()).collect();
        let hasher = foldhash::fast::FixedState::default();
        let workers = dealt.len();
        let place = |name: &str| {
            let mut hash = hasher.build_hasher();
            hash.write(name.as_bytes());
            hash.finish() as usize % workers
        };
        for session in self.sessions {
            dealt[place(&session.client_id)].sessions.push(session);
        }
        for delayed in self.delayed {
            dealt[place(delayed.message.topic())].delayed.push(delayed);
        }
        let mut dealt = dealt.into_iter();
        let results = gateway.ask(|reply| Control::Restore(dealt.next().unwrap_or_default(), reply))?;
        results.into_iter().collect::<Result<(), std::io::Error>>().map_err(unwritten)?;
        self.generation.commit().map_err(failed)?;
        for place in self.places {
            // On standard error: nobody reads the event rings yet.
            eprintln!("tidegate: a record of the data directory is broken, what stood there is lost: {place}");
        }
        Ok(())
    }
}

/// What one worker takes over.
#[derive(Default)]
pub(crate) struct Dealt {
    sessions: Vec<StoredSession>,
    delayed: Vec<StoredDelayed>,
}

/// Takes sessions over, on a worker. Answers when they are on the disk and every worker
/// knows their subscriptions.
pub(crate) fn restore_here(worker: &Rc<Worker>, dealt: Dealt, done: oneshot::Sender<std::io::Result<()>>) {
    let worker = Rc::clone(worker);
    tokio::task::spawn_local(async move {
        let now = worker.clock.millis();
        for delayed in dealt.delayed {
            worker.with_broker(|broker, sink| broker.restore_delayed(delayed, sink));
        }
        for session in dealt.sessions {
            worker.with_broker(|broker, sink| broker.restore(now, session, sink));
        }
        let written = worker.with_own_log(|log| log.flush().and_then(|()| sync(log))).unwrap_or(Ok(()));
        worker.flush_log();
        let number = worker.hub.broker.borrow().interest();
        worker.settled(number).await;
        let _ = done.send(written);
    });
}
