//! The log of one worker, or of the retained messages: entries gather in frames, frames
//! in memory, and `flush` writes them at once. A checkpoint says all that is live again
//! in new segments; then the old ones go.

use crate::entry::Entry;
use crate::frame::put_frame;
use crate::outbox::{Outbox, Pending};
use crate::segment::{Segment, path_of};
use crate::stored::StoredMessage;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use tidegate_broker::Record;
use tidegate_message::Message;

/// Where a log stands and how it grows.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes of a segment, claimed at once. Default 16 MiB.
    pub segment_bytes: usize,
    /// Bytes the log may take; beyond, it says that it is full. Default 4 GiB.
    pub max_bytes: u64,
    /// The wall clock at the gateway's time 0, milliseconds since 1970.
    pub epoch_ms: u64,
}

/// Garbage that may gather before a checkpoint is worth it, in segments.
const IDLE_SEGMENTS: u64 = 4;

/// Looks for room, about ten a second, between two checkpoints of a log that is full: what
/// was acknowledged or cleared meanwhile is superfluous, and nothing else makes room.
const FULL_TURNS: u32 = 50;

/// An append-only log.
pub struct Log {
    folder: PathBuf,
    name: String,
    options: LogOptions,
    current: Option<Segment>,
    /// The next one, claimed before it is needed.
    spare: Option<Segment>,
    next_segment: u64,
    first_segment: u64,
    /// Entries of the frame that is not whole yet.
    open: Vec<u8>,
    /// Whole frames that are not written.
    frames: Vec<u8>,
    number: u64,
    /// The message whose body was put last, and those put since the checkpoint began.
    last_body: u64,
    bodies: Option<HashSet<u64>>,
    /// Messages of publishes for many that go on: their bodies stand where the newest checkpoint begins, or behind it.
    spreading: HashSet<u64>,
    outbox: Outbox,
    /// The next flush begins a new segment.
    rolls: bool,
    is_full: bool,
    full_turns: u32,
    /// Files with bytes that may not be on the disk itself.
    dirty: Vec<Arc<File>>,
    /// The first segment of the last checkpoint that is whole, if older ones still stand.
    covered: Option<u64>,
    checkpoint_at: u64,
    bytes: u64,
    live_bytes: u64,
    checkpoint_bytes: u64,
}

impl Log {
    pub(crate) fn new(folder: PathBuf, name: String, options: LogOptions) -> Log {
        Log {
            folder,
            name,
            options,
            current: None,
            spare: None,
            next_segment: 1,
            first_segment: 1,
            open: Vec::new(),
            frames: Vec::new(),
            number: 0,
            last_body: 0,
            bodies: None,
            spreading: HashSet::new(),
            outbox: Outbox::default(),
            rolls: false,
            is_full: false,
            full_turns: 0,
            dirty: Vec::new(),
            covered: None,
            checkpoint_at: 0,
            bytes: 0,
            live_bytes: 0,
            checkpoint_bytes: 0,
        }
    }

    /// Adds a record to the frame.
    pub fn append(&mut self, record: &Record<'_>) {
        match record {
            Record::Queue { id, message, .. } if !self.spreading.contains(id) => self.body(*id, message),
            Record::Spread { id, message, .. } => {
                self.body(*id, message);
                self.spreading.insert(*id);
            }
            Record::SpreadOver { id } => drop(self.spreading.remove(id)),
            _ => {}
        }
        let entry = Entry::of(record, self.options.epoch_ms);
        self.put(&entry);
    }

    /// Adds a message that leaves for another worker, whose sessions keep it.
    pub fn outgoing(&mut self, pending: Pending) {
        self.put_outgoing(&pending);
        self.outbox.push(pending);
    }

    fn put_outgoing(&mut self, pending: &Pending) {
        let Pending { id, worker, plain, groups, client, message } = pending;
        self.body(*id, message);
        let groups = groups.iter().map(|group| &**group).collect();
        self.put(&Entry::Outgoing { id: *id, worker: *worker, plain: *plain, groups });
        if let Some(client_id) = client {
            self.put(&Entry::OutgoingOf { id: *id, worker: *worker, client_id });
        }
    }

    /// A worker has in its own log what left for it, up to `id`.
    pub fn arrived(&mut self, worker: u16, id: u64) {
        if self.outbox.arrived(worker, id) {
            self.put(&Entry::Arrived { worker, id });
        }
    }

    /// A message of another worker was delivered, by what the frame holds.
    pub fn taken(&mut self, id: u64) {
        self.put(&Entry::Taken { id });
    }

    /// A message stands once for all deliveries of one publish.
    fn body(&mut self, id: u64, message: &Message) {
        let is_new = self.bodies.as_mut().is_none_or(|bodies| bodies.insert(id));
        if id != self.last_body && is_new {
            let message = StoredMessage::new(message, self.options.epoch_ms);
            self.put(&Entry::Body { id, message });
        }
        self.last_body = id;
    }

    fn put(&mut self, entry: &Entry<'_>) {
        let open = std::mem::take(&mut self.open);
        // Writing into memory does not fail, nor does serializing plain data.
        self.open = postcard::to_extend(entry, open).unwrap_or_default();
    }

    /// Ends the frame: what stands in it is kept whole or not at all.
    pub fn seal(&mut self) {
        if !self.open.is_empty() {
            self.number += 1;
            put_frame(&mut self.frames, self.number, &self.open);
            self.open.clear();
        }
    }

    /// Whether there is something to write.
    pub fn is_dirty(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Bytes that wait to be written.
    pub fn waiting(&self) -> usize {
        self.frames.len()
    }

    /// Writes all whole frames.
    ///
    /// # Errors
    /// They could not be written; they stay, and the next call tries again.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.frames.is_empty() {
            return Ok(());
        }
        let needed = self.frames.len();
        if self.rolls || self.current.as_ref().is_none_or(|segment| segment.room() < needed) {
            self.current = Some(self.take_segment(needed)?);
            self.rolls = false;
        }
        let Some(segment) = &mut self.current else { return Ok(()) };
        segment.write(&self.frames)?;
        self.bytes += needed as u64;
        self.checkpoint_bytes += needed as u64;
        if !self.dirty.iter().any(|file| Arc::ptr_eq(file, &segment.file)) {
            self.dirty.push(Arc::clone(&segment.file));
        }
        self.frames.clear();
        self.frames.shrink_to(1 << 20);
        let is_half = segment.room() < self.options.segment_bytes / 2;
        if is_half && self.spare.is_none() {
            self.prepare();
        }
        Ok(())
    }

    fn take_segment(&mut self, needed: usize) -> io::Result<Segment> {
        if let Some(spare) = self.spare.take_if(|spare| spare.room() >= needed) {
            return Ok(spare);
        }
        if let Some(spare) = self.spare.take() {
            // What does not fit goes behind it: written later, it would be read before what came earlier.
            let _ = std::fs::remove_file(path_of(&self.folder, &self.name, spare.number));
        }
        self.make_segment(needed.max(self.options.segment_bytes))
    }

    fn make_segment(&mut self, size: usize) -> io::Result<Segment> {
        let number = self.next_segment;
        let segment = Segment::create(&path_of(&self.folder, &self.name, number), number, size)?;
        self.next_segment += 1;
        Ok(segment)
    }

    /// Claims the next segment; without room for it the log is full.
    fn prepare(&mut self) {
        let fits = self.bytes < self.options.max_bytes;
        self.spare = if fits { self.make_segment(self.options.segment_bytes).ok() } else { None };
        self.is_full = self.spare.is_none();
    }

    /// Whether there is no room for more than acknowledgements.
    pub const fn is_full(&self) -> bool {
        self.is_full
    }

    /// Looks whether a full log has room again.
    pub fn retry(&mut self) {
        if self.is_full {
            self.full_turns += 1;
            self.prepare();
        }
    }

    /// Bytes the log may take, from a new plan.
    pub const fn limit(&mut self, max_bytes: u64) {
        self.options.max_bytes = max_bytes;
    }

    /// Bytes written that no checkpoint has made superfluous.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Files with bytes that may not be on the disk itself, until the next call.
    pub fn take_dirty(&mut self) -> Vec<Arc<File>> {
        std::mem::take(&mut self.dirty)
    }

    /// The files that were written last: the one in use and the one before it.
    pub fn written_files(&mut self) -> Vec<Arc<File>> {
        let keep = self.dirty.len().saturating_sub(2);
        self.dirty.drain(..keep);
        self.dirty.clone()
    }

    /// Whether most of the log is superfluous.
    pub fn wants_checkpoint(&self) -> bool {
        // Where there is little room, before it is full of what is superfluous.
        let idle = (IDLE_SEGMENTS * self.options.segment_bytes as u64).min(self.options.max_bytes / 4);
        let is_worth_it = match self.is_full {
            true => self.full_turns >= FULL_TURNS && self.bytes > self.live_bytes,
            false => self.bytes > 2 * self.live_bytes + idle,
        };
        self.bodies.is_none() && self.covered.is_none() && is_worth_it
    }

    /// From now on all that is live is said again, between what goes on.
    ///
    /// # Errors
    /// What waited could not be written; nothing began.
    pub fn begin_checkpoint(&mut self) -> io::Result<()> {
        self.flush()?;
        (self.rolls, self.full_turns) = (true, 0);
        // A spare has a number already: it comes first.
        self.checkpoint_at = self.spare.as_ref().map_or(self.next_segment, |spare| spare.number);
        (self.last_body, self.bodies, self.checkpoint_bytes) = (0, Some(HashSet::new()), 0);
        let pending: Vec<Pending> = self.outbox.iter().cloned().collect();
        pending.iter().for_each(|pending| self.put_outgoing(pending));
        self.seal();
        Ok(())
    }

    /// All that is live was said again and flushed.
    pub fn end_checkpoint(&mut self) {
        self.bodies = None;
        self.live_bytes = self.checkpoint_bytes;
        self.covered = Some(self.checkpoint_at);
    }

    /// Removes what a checkpoint made superfluous. Call it some seconds after the end of
    /// one, so that what other workers have to say of old entries has been said.
    pub fn discard_covered(&mut self) {
        let Some(covered) = self.covered.take() else { return };
        for number in self.first_segment..covered {
            // It takes room and is read in vain; no more than that.
            let _ = std::fs::remove_file(path_of(&self.folder, &self.name, number));
        }
        self.first_segment = covered;
        self.bytes = self.checkpoint_bytes;
    }
}
