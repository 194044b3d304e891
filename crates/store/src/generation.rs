//! The folders of a store. Each start of the gateway makes a generation: what the last
//! whole one held is said again in it, then it is marked as whole and older ones go. A
//! start that is cut off leaves the one before untouched.

use crate::error::StoreError;
use crate::fold::{Fold, Recovered};
use crate::frame::{Found, Frames};
use crate::log::{Log, LogOptions};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Stands in a generation that is whole.
const MARK: &str = "whole";

/// A generation that is being made or in use.
pub struct Generation {
    root: PathBuf,
    folder: PathBuf,
    options: LogOptions,
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> StoreError {
    let path = path.to_path_buf();
    |cause| StoreError { path, cause }
}

impl Generation {
    /// Reads what the last whole generation holds and begins a new one.
    ///
    /// # Errors
    /// A folder or file cannot be read or made. What is broken inside a file is no
    /// error: `Recovered` names it.
    pub fn open(root: &Path, options: LogOptions) -> Result<(Generation, Recovered), StoreError> {
        fs::create_dir_all(root).map_err(failed(root))?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(root).map_err(failed(root))? {
            let entry = entry.map_err(failed(root))?;
            numbers.extend(entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        let folder_of = |number: u64| root.join(format!("{number:08}"));
        let whole = numbers.iter().rev().map(|number| folder_of(*number)).find(|folder| folder.join(MARK).exists());
        let mut fold = Fold::new(options.epoch_ms);
        if let Some(folder) = whole {
            read(&folder, &mut fold)?;
        }
        let folder = folder_of(numbers.last().map_or(1, |last| last + 1));
        fs::create_dir(&folder).map_err(failed(&folder))?;
        Ok((Generation { root: root.to_path_buf(), folder, options }, fold.finish()))
    }

    /// The log of a worker.
    pub fn worker_log(&self, worker: u16) -> Log {
        Log::new(self.folder.clone(), format!("worker-{worker}"), self.options.clone())
    }

    /// The log of the retained messages.
    pub fn retained_log(&self) -> Log {
        Log::new(self.folder.clone(), "retained".to_owned(), self.options.clone())
    }

    /// All that was recovered stands in the logs and on the disk: older generations go.
    ///
    /// # Errors
    /// The mark cannot be made: the older one still counts.
    pub fn commit(&self) -> Result<(), StoreError> {
        let mark = self.folder.join(MARK);
        let made = File::create(&mark).and_then(|file| file.sync_all());
        made.and_then(|()| sync_folder(&self.folder)).map_err(failed(&mark))?;
        sync_folder(&self.root).map_err(failed(&self.root))?;
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let is_ours = entry.file_name().to_str().is_some_and(|name| name.parse::<u64>().is_ok());
            if is_ours && entry.path() != self.folder {
                // What stays is not read again: a newer generation is whole.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(())
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Every log of a generation, its segments in order.
fn read(folder: &Path, fold: &mut Fold) -> Result<(), StoreError> {
    let mut logs: BTreeMap<String, BTreeMap<u64, PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".log"));
        let Some((log, number)) = name.and_then(|name| name.rsplit_once('-')) else { continue };
        let Ok(number) = number.parse() else { continue };
        logs.entry(log.to_owned()).or_default().insert(number, path);
    }
    for (log, segments) in logs {
        let worker = log.strip_prefix("worker-").and_then(|number| number.parse().ok());
        let mut number = 0;
        let mut torn = None;
        for path in segments.values() {
            let bytes = fs::read(path).map_err(failed(path))?;
            let mut frames = Frames::new(&bytes, number);
            while let Some(found) = frames.next() {
                match found {
                    Found::Frame(payload) => {
                        if !fold.frame(worker, payload) {
                            fold.corrupt(path, 0);
                        }
                    }
                    Found::Corrupt(at) => fold.corrupt(path, at),
                    Found::Torn(at) => torn = Some((path.clone(), at, frames.number)),
                }
            }
            number = frames.number;
            // What looked like a torn tail has a continuation: it was no tail.
            if let Some((path, at, before)) = torn.take_if(|(_, _, before)| *before < number) {
                debug_assert!(before < number);
                fold.corrupt(&path, at);
            }
        }
        fold.torn += usize::from(torn.is_some());
    }
    Ok(())
}
