//! The file in which the DTLS sessions of a worker's listener wait for the next start. What
//! it holds is read once: the file is gone, for good, before a record is made of it, since
//! two lives of one session would use its numbers twice.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Milliseconds since 1970 in front.
const TIME: usize = 8;

pub(super) struct SavedSessions {
    folder: PathBuf,
    file: PathBuf,
}

impl SavedSessions {
    pub(super) fn of(folder: &Path, (listener, worker): (&str, u16)) -> Self {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
        let name: String = listener.chars().map(plain).collect();
        SavedSessions { folder: folder.to_owned(), file: folder.join(format!("{name}.{worker}")) }
    }

    /// # Errors
    /// It cannot be written; nothing is left then.
    pub(super) fn write(&self, epoch_ms: u64, sessions: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let written = self.create().and_then(|mut file| {
            file.write_all(&epoch_ms.to_be_bytes())?;
            file.write_all(sessions)?;
            file.sync_all()
        });
        if written.is_err() {
            let _ = std::fs::remove_file(&self.file);
        }
        written
    }

    fn create(&self) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.file)
    }

    /// What was written, and how long ago, milliseconds; never the same twice. `None`: there
    /// is none.
    ///
    /// # Errors
    /// It is there, but cannot be read or removed: it is of no use.
    pub(super) fn take(&self, epoch_ms: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
        let mut bytes = match std::fs::read(&self.file) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        std::fs::remove_file(&self.file)?;
        // Else it would be there again once the power has failed.
        #[cfg(unix)]
        File::open(&self.folder)?.sync_all()?;
        let Some(at) = bytes.first_chunk::<TIME>().map(|at| u64::from_be_bytes(*at)) else { return Ok(None) };
        bytes.drain(..TIME);
        Ok(Some((epoch_ms.saturating_sub(at), bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_taken_once_and_is_for_nobody_else_to_read() {
        let folder = std::env::temp_dir().join(format!("tidegate-saved-{}", std::process::id()));
        let saved = |worker| SavedSessions::of(&folder, ("udp://[::1]:5684", worker));
        assert!(saved(0).take(1).expect("no file is no error").is_none());
        saved(0).write(1_000, b"sessions").expect("written");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&saved(0).file).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert!(saved(1).take(5_000).expect("another worker's").is_none());
        assert_eq!(saved(0).take(5_000).expect("read"), Some((4_000, b"sessions".to_vec())));
        assert!(saved(0).take(5_000).expect("gone").is_none());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
