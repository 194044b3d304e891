//! Reservations of OSCORE's sequence numbers on disk: two slots for each context, written
//! in turn, so that a torn write leaves the one before. What is written is with the
//! kernel when a number is used, and so outlives the process.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use tidegate_oscore::{Fingerprint, Ledger};

/// Fingerprint, number, checksum, and what fills the slot.
const SLOT: usize = 32;
/// Numbers that may have been used behind a slot that cannot be read.
const MARGIN: u64 = 4_096;

struct Entry {
    /// Place of the first slot, in slots.
    place: u64,
    /// How often it was written.
    writes: u64,
    reserved: u64,
}

struct State {
    path: PathBuf,
    /// Open from the first reservation on.
    file: Option<File>,
    entries: HashMap<Fingerprint, Entry>,
    slots: u64,
}

/// The file of a data directory.
pub(crate) struct FileLedger(Mutex<State>);

impl FileLedger {
    /// Reads the file, where there is one; the first reservation makes it.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let bytes = match std::fs::read(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let mut entries: HashMap<Fingerprint, Entry> = HashMap::new();
        for (place, slot) in (0_u64..).zip(bytes.chunks_exact(SLOT)) {
            let Some((context, number)) = read(slot) else { continue };
            let entry = entries.entry(context).or_insert(Entry { place: place & !1, writes: 0, reserved: 0 });
            // The next write goes over the older of the two.
            if number >= entry.reserved {
                (entry.reserved, entry.writes) = (number, (place & 1) + 1);
            }
        }
        // A slot that is torn may have been a reservation that was used.
        for entry in entries.values_mut() {
            let other = (entry.place + (entry.writes & 1)) as usize * SLOT;
            let is_torn = |slot: &[u8]| slot.iter().any(|byte| *byte != 0) && read(slot).is_none();
            if bytes.get(other..other + SLOT).is_some_and(is_torn) {
                entry.reserved = entry.reserved.saturating_add(MARGIN);
            }
        }
        let slots = (bytes.len().div_ceil(SLOT) as u64).next_multiple_of(2);
        Ok(FileLedger(Mutex::new(State { path: path.to_owned(), file: None, entries, slots })))
    }
}

impl Ledger for FileLedger {
    fn reserve(&self, context: &Fingerprint, count: u64) -> Option<Range<u64>> {
        let mut state = self.0.lock();
        let State { path, file, entries, slots } = &mut *state;
        let entry = entries.entry(*context).or_insert_with(|| {
            *slots += 2;
            Entry { place: *slots - 2, writes: 0, reserved: 0 }
        });
        // Beyond what fits a number nothing is given: the context is used up.
        let end = entry.reserved.saturating_add(count);
        let at = (entry.place + (entry.writes & 1)) * SLOT as u64;
        if file.is_none() {
            *file = OpenOptions::new().write(true).create(true).truncate(false).open(path).ok();
        }
        let file = file.as_mut()?;
        file.seek(SeekFrom::Start(at)).ok()?;
        file.write_all(&written(context, end)).ok()?;
        entry.writes += 1;
        Some(std::mem::replace(&mut entry.reserved, end)..end)
    }

    fn is_known(&self, context: &Fingerprint) -> bool {
        self.0.lock().entries.contains_key(context)
    }
}

fn written(context: &Fingerprint, number: u64) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[..16].copy_from_slice(context);
    slot[16..24].copy_from_slice(&number.to_le_bytes());
    let sum = crc32fast::hash(&slot[..24]);
    slot[24..28].copy_from_slice(&sum.to_le_bytes());
    slot
}

fn read(slot: &[u8]) -> Option<(Fingerprint, u64)> {
    let (context, rest) = slot.split_first_chunk::<16>()?;
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let (sum, _) = rest.split_first_chunk::<4>()?;
    let is_whole = *sum == crc32fast::hash(&slot[..24]).to_le_bytes() && slot.iter().any(|byte| *byte != 0);
    is_whole.then(|| (*context, u64::from_le_bytes(*number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_given_twice_over_restarts_and_torn_writes() {
        let folder = std::env::temp_dir().join(format!("tidegate-ledger-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("oscore");
        let (one, two) = ([1; 16], [2; 16]);
        let mut next = 0;
        for round in 0..5 {
            let ledger = FileLedger::open(&path).expect("opened");
            assert_eq!((ledger.is_known(&one), ledger.is_known(&two)), (round > 0, round > 0));
            for _ in 0..round + 1 {
                let range = ledger.reserve(&one, 10).expect("reserved");
                assert_eq!(range, next..next + 10);
                next = range.end;
                assert!(ledger.reserve(&two, 1).is_some());
            }
        }
        let mut bytes = std::fs::read(&path).expect("a file");
        assert_eq!(bytes.len(), 4 * SLOT);
        // The newest slot of the first context is torn: what it said may have been used.
        let newest = (0..2).max_by_key(|slot| read(&bytes[slot * SLOT..]).map(|(_, number)| number)).expect("two");
        bytes[newest * SLOT + 20] ^= 1;
        std::fs::write(&path, &bytes).expect("written");
        let ledger = FileLedger::open(&path).expect("opened");
        assert!(ledger.reserve(&one, 1).expect("reserved").start >= next);
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
