//! One file of a log: room that is claimed from the disk before it is needed, so that a
//! write into it does not fail for lack of space.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment that is written.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) file: Arc<File>,
    pub(crate) size: usize,
    pub(crate) at: usize,
    /// A write failed half way: the file's position is not where it should be.
    is_astray: bool,
}

/// The file of a log's segment.
pub(crate) fn path_of(folder: &Path, log: &str, number: u64) -> PathBuf {
    folder.join(format!("{log}-{number:08}.log"))
}

impl Segment {
    /// Makes a file of `size` bytes, all of them there.
    pub(crate) fn create(path: &Path, number: u64, size: usize) -> io::Result<Segment> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
        if let Err(error) = claim(&file, size as u64) {
            // Half a file that nobody writes takes the room of others.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
        Ok(Segment { number, file: Arc::new(file), size, at: 0, is_astray: false })
    }

    pub(crate) const fn room(&self) -> usize {
        self.size - self.at
    }

    /// Writes behind what stands there; after a failure the same bytes may be written again.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut file = &*self.file;
        if self.is_astray {
            file.seek(SeekFrom::Start(self.at as u64))?;
        }
        self.is_astray = true;
        file.write_all(bytes)?;
        self.is_astray = false;
        self.at += bytes.len();
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn claim(file: &File, size: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, size) {
        // A file system that cannot: writes may fail, and are then done again.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size),
        other => other.map_err(Into::into),
    }
}

#[cfg(not(target_os = "linux"))]
fn claim(file: &File, size: u64) -> io::Result<()> {
    file.set_len(size)
}
