//! Where lines go: a buffer on each worker, a bounded queue, one thread that writes.

use super::{Ending, Format, Seen, format};
use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// Bytes that a worker gathers before it hands them over.
const BATCH: usize = 32 << 10;
/// Batches that wait for the writer, of all workers: 4 MiB.
const QUEUE: usize = 128;
/// How often the writer looks whether its file was moved away.
const REOPEN: Duration = Duration::from_millis(500);

/// What `log.access` says.
#[derive(serde::Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessLogDto {
    pub(crate) format: Format,
    /// `None`: standard output.
    pub(crate) file: Option<String>,
    /// One request in so many.
    pub(crate) sample_every: u64,
}

/// One access log; kept from plan to plan as long as it is the same.
#[derive(Debug)]
pub(crate) struct AccessSink {
    pub(crate) dto: AccessLogDto,
    queue: SyncSender<Vec<u8>>,
    pub(crate) dropped: AtomicU64,
}

impl AccessSink {
    /// Opens the file and starts the writer.
    ///
    /// # Errors
    /// The file cannot be written, or the system gives no more threads.
    pub(crate) fn start(dto: &AccessLogDto) -> io::Result<Arc<AccessSink>> {
        let (queue, batches) = sync_channel(QUEUE);
        let path = dto.file.as_ref().map(PathBuf::from);
        let file = path.as_ref().map(open).transpose()?;
        let thread = std::thread::Builder::new().name("tidegate-access".to_owned());
        // It ends with the last sender, when what was queued is written.
        thread.spawn(move || write_all(&batches, (path, file)))?;
        Ok(Arc::new(AccessSink { dto: dto.clone(), queue, dropped: AtomicU64::new(0) }))
    }
}

/// A worker's lines that were not handed over yet.
#[derive(Default)]
pub(crate) struct AccessBuffer {
    lines: RefCell<(Vec<u8>, u64)>,
    until_next: Cell<u64>,
}

impl AccessBuffer {
    /// Whether it is this request's turn.
    pub(crate) fn wants(&self, sink: &AccessSink) -> bool {
        let left = self.until_next.get().saturating_sub(1);
        self.until_next.set(if left == 0 { sink.dto.sample_every } else { left });
        left == 0
    }

    /// Adds a line.
    pub(crate) fn put(&self, sink: &AccessSink, seen: &Seen, ending: &Ending<'_>) {
        let mut lines = self.lines.borrow_mut();
        format::put(&mut lines.0, sink.dto.format, (seen, ending));
        lines.1 += 1;
        let is_full = lines.0.len() >= BATCH;
        drop(lines);
        if is_full {
            self.flush(sink);
        }
    }

    /// Hands over what there is.
    pub(crate) fn flush(&self, sink: &AccessSink) {
        let (batch, count) = std::mem::take(&mut *self.lines.borrow_mut());
        if count > 0 && sink.queue.try_send(batch).is_err() {
            sink.dropped.fetch_add(count, Relaxed);
        }
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The writer's life. A disk that is full costs lines, not the gateway.
fn write_all(batches: &Receiver<Vec<u8>>, (path, mut file): (Option<PathBuf>, Option<File>)) {
    let (mut looked, mut is_idle) = (Instant::now(), false);
    loop {
        if is_idle || looked.elapsed() >= REOPEN {
            looked = Instant::now();
            if let (Some(path), Some(current)) = (&path, &file)
                && was_moved(path, current)
                && let Ok(new) = open(path)
            {
                file = Some(new);
            }
        }
        let received = batches.recv_timeout(REOPEN);
        is_idle = received.is_err();
        match received {
            Ok(batch) => {
                let _ = match &mut file {
                    Some(file) => file.write_all(&batch),
                    None => io::stdout().write_all(&batch).and_then(|()| io::stdout().flush()),
                };
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Whether the path names another file by now, or none: a rotation has been.
fn was_moved(path: &PathBuf, current: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |data: std::fs::Metadata| (data.dev(), data.ino());
    match (std::fs::metadata(path).map(of), current.metadata().map(of)) {
        (Ok(named), Ok(open)) => named != open,
        (named, _) => named.is_err(),
    }
}
