//! A client within a connection: a stream of HTTP/2 as the bytes of an HTTP/1.1
//! connection, so that one driver serves both. Both directions are bounded; each
//! side wakes the other.

use std::cell::{Cell, RefCell};
use std::io;
use std::task::{Context, Poll, Waker};
use tokio::io::ReadBuf;

/// Bytes that may wait in one direction.
pub(crate) const PIPE_BYTES: usize = 64 << 10;

/// See the module. `inward` is what the driver reads, `outward` what it writes.
#[derive(Default)]
pub(crate) struct Pipe {
    inward: RefCell<Vec<u8>>,
    outward: RefCell<Vec<u8>>,
    /// Nothing more comes in, nothing more goes out, the peer is gone.
    inward_ended: Cell<bool>,
    outward_ended: Cell<bool>,
    is_broken: Cell<bool>,
    driver: RefCell<Option<Waker>>,
    stream: RefCell<Option<Waker>>,
}

fn register(slot: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    let mut slot = slot.borrow_mut();
    match slot.as_mut() {
        Some(known) if known.will_wake(cx.waker()) => {}
        Some(known) => known.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

fn wake(slot: &RefCell<Option<Waker>>) {
    if let Some(waker) = slot.borrow().as_ref() {
        waker.wake_by_ref();
    }
}

/// The driver's side.
impl Pipe {
    pub(super) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken.get() || self.inward_ended.get() || !self.inward.borrow().is_empty() {
            return Poll::Ready(Ok(()));
        }
        register(&self.driver, cx);
        Poll::Pending
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_broken.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut inward = self.inward.borrow_mut();
        if inward.is_empty() && !self.inward_ended.get() {
            register(&self.driver, cx);
            return Poll::Pending;
        }
        let fits = inward.len().min(read.remaining());
        read.put_slice(&inward[..fits]);
        inward.drain(..fits);
        wake(&self.stream);
        Poll::Ready(Ok(()))
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_broken.get() || self.outward_ended.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut outward = self.outward.borrow_mut();
        let fits = PIPE_BYTES.saturating_sub(outward.len()).min(bytes.len());
        if fits == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        outward.extend_from_slice(&bytes[..fits]);
        wake(&self.stream);
        Ok(fits)
    }

    pub(super) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken.get() || self.outward.borrow().len() < PIPE_BYTES {
            return Poll::Ready(Ok(()));
        }
        register(&self.driver, cx);
        Poll::Pending
    }

    pub(crate) fn end(&self) {
        self.outward_ended.set(true);
        wake(&self.stream);
    }
}

/// The stream's side.
impl Pipe {
    /// Remembers who to wake when the driver read or wrote.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        register(&self.stream, cx);
    }

    /// Whether the driver should read before more is put in.
    pub(crate) fn is_full(&self) -> bool {
        self.inward.borrow().len() >= PIPE_BYTES
    }

    /// Puts bytes in by `put`; who asks [`Pipe::is_full`] first overshoots by one frame.
    pub(crate) fn put(&self, put: impl FnOnce(&mut Vec<u8>)) {
        put(&mut self.inward.borrow_mut());
        wake(&self.driver);
    }

    /// Nothing more comes in.
    pub(crate) fn end_inward(&self) {
        self.inward_ended.set(true);
        wake(&self.driver);
    }

    /// The peer is gone.
    pub(crate) fn break_off(&self) {
        self.is_broken.set(true);
        wake(&self.driver);
    }

    /// Shows what the driver wrote; `take` says how many bytes it used.
    pub(crate) fn take<T>(&self, take: impl FnOnce(&[u8]) -> (usize, T)) -> T {
        let mut outward = self.outward.borrow_mut();
        let was_full = outward.len() >= PIPE_BYTES;
        let (used, result) = take(&outward);
        outward.drain(..used);
        if was_full && used > 0 {
            wake(&self.driver);
        }
        result
    }

    /// Whether the driver writes no more.
    pub(crate) fn is_ended(&self) -> bool {
        self.outward_ended.get()
    }
}
