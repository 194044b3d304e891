//! A thread that brings what was written to the disk itself, for a worker that must not
//! wait: one `fdatasync` for all that gathered while the one before ran.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

#[derive(Default)]
struct Work {
    files: Vec<Arc<File>>,
    upto: u64,
    is_over: bool,
}

#[derive(Default)]
struct Desk {
    work: Mutex<Work>,
    news: Condvar,
}

/// The worker's end. Dropped, it finishes what was asked for and joins the thread.
pub struct Syncer {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// `done` is called on the thread, with the highest number that is on the disk, or
    /// with why it is not.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(name: String, done: impl Fn(Result<u64, io::Error>) + Send + 'static) -> io::Result<Syncer> {
        let desk = Arc::<Desk>::default();
        let theirs = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name(name).spawn(move || work(&theirs, &done))?;
        Ok(Syncer { desk, thread: Some(thread) })
    }

    /// Asks for what was written to `files`, the newest of it called `upto`.
    pub fn request(&self, files: Vec<Arc<File>>, upto: u64) {
        let mut work = self.desk.work.lock().unwrap_or_else(PoisonError::into_inner);
        for file in files {
            if !work.files.iter().any(|known| Arc::ptr_eq(known, &file)) {
                work.files.push(file);
            }
        }
        work.upto = upto;
        self.desk.news.notify_one();
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.desk.work.lock().unwrap_or_else(PoisonError::into_inner).is_over = true;
        self.desk.news.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has told so already.
            let _ = thread.join();
        }
    }
}

fn work(desk: &Desk, done: &impl Fn(Result<u64, io::Error>)) {
    loop {
        let (files, upto) = {
            let mut work = desk.work.lock().unwrap_or_else(PoisonError::into_inner);
            while work.files.is_empty() {
                if work.is_over {
                    return;
                }
                work = desk.news.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
            (std::mem::take(&mut work.files), work.upto)
        };
        done(files.iter().try_for_each(|file| file.sync_data()).map(|()| upto));
    }
}
