//! A stream of HTTP/2 as the two ends of an HTTP/1.1 client, so that one driver serves
//! both: what the driver reads is pulled out of the stream, what it writes goes onto it
//! at once, as far as the client's window reaches.

use super::inward::Inward;
use super::outward::{Outward, Stage};
use super::stream::Parent;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tidegate_http::{Body, HeadEdits, ResponseHead};
use tidegate_http2::StreamKey;
use tokio::io::ReadBuf;

/// Bytes that may wait in one direction.
pub(super) const END_BYTES: usize = 64 << 10;

/// See the module.
pub(crate) struct StreamEnd {
    parent: Rc<Parent>,
    key: StreamKey,
    inward: RefCell<Inward>,
    outward: RefCell<Outward>,
    /// The client took its stream back.
    is_broken: Cell<bool>,
    /// Who waits until more can be written; another task than the stream's, where messages are sent.
    writer: RefCell<Option<Waker>>,
    stream: RefCell<Option<Waker>>,
    /// The stream is being polled, and looks at what was done behind that.
    is_polled: Cell<bool>,
}

/// Whether the waker is another one than before.
fn register(slot: &RefCell<Option<Waker>>, cx: &Context<'_>) -> bool {
    let mut slot = slot.borrow_mut();
    match slot.as_mut() {
        Some(known) if known.will_wake(cx.waker()) => return false,
        Some(known) => known.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
    true
}

/// The driver's side.
impl StreamEnd {
    pub(crate) fn poll_read_ready(&self) -> Poll<io::Result<()>> {
        let is_ready = self.is_broken.get() || self.inward.borrow().is_ready(&self.parent.h2.borrow());
        if is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    pub(crate) fn poll_read(&self, read: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_broken.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.inward.borrow_mut().poll_read(&mut self.parent.h2.borrow_mut(), read)
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_broken.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let written = self.outward.borrow_mut().write(bytes);
        self.tell();
        written
    }

    /// Begins an answer whose body, framed as `body` says, is written behind it.
    ///
    /// # Errors
    /// The client is gone, or HTTP/2 cannot carry a field.
    pub(crate) fn begin<E: HeadEdits>(&self, head: &ResponseHead<'_, '_>, how: (Body, &E)) -> io::Result<()> {
        if self.is_broken.get() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let begun = self.outward.borrow_mut().begin(head, how);
        self.tell();
        begun
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_broken.get() || self.outward.borrow().has_room() {
            return Poll::Ready(Ok(()));
        }
        register(&self.writer, cx);
        Poll::Pending
    }

    /// Nothing more is written.
    pub(crate) fn end(&self) {
        self.outward.borrow_mut().end();
        self.tell();
    }

    /// Nothing more is written, since there is no more.
    pub(crate) fn cut(&self) {
        self.outward.borrow_mut().cut();
        self.tell();
    }

    /// Wakes the stream where it must see that its answer is over, and who sends what was said.
    fn tell(&self) {
        self.parent.tell();
        if self.is_polled.get() || matches!(self.outward.borrow().stage(), Stage::Idle | Stage::Blocked) {
            return;
        }
        self.wake();
    }
}

/// The stream's side.
impl StreamEnd {
    pub(super) fn new(parent: Rc<Parent>, key: StreamKey, (inward, outward): (Inward, Outward)) -> Self {
        StreamEnd {
            parent,
            key,
            inward: RefCell::new(inward),
            outward: RefCell::new(outward),
            is_broken: Cell::new(false),
            writer: RefCell::default(),
            stream: RefCell::default(),
            is_polled: Cell::new(false),
        }
    }

    /// The stream is looked at: sends what found the window closed. `false`: the client took it back.
    pub(super) fn enter(&self, cx: &mut Context<'_>) -> bool {
        if register(&self.stream, cx) {
            self.parent.h2.borrow_mut().register(self.key, cx.waker());
        }
        self.is_polled.set(true);
        let mut outward = self.outward.borrow_mut();
        if outward.is_reset() {
            drop(outward);
            self.break_off();
            return false;
        }
        outward.pump();
        if outward.has_room() {
            // The driver itself is polled next.
            let writer = self.writer.take().filter(|writer| !writer.will_wake(cx.waker()));
            writer.into_iter().for_each(Waker::wake);
        }
        true
    }

    /// The look is over; where the answer stands, and how many bytes of it are out.
    pub(super) fn leave(&self) -> (Stage, u64) {
        self.is_polled.set(false);
        let outward = self.outward.borrow();
        (outward.stage(), outward.sent)
    }

    /// Whether it is the stream's own window that the answer waits for.
    pub(super) fn waits_for_window(&self) -> bool {
        self.parent.h2.borrow().waits_for_window(self.key)
    }

    /// The client is gone: whoever reads or writes is told.
    pub(super) fn break_off(&self) {
        self.is_broken.set(true);
        self.writer.take().into_iter().for_each(Waker::wake);
    }

    /// The stream must be looked at.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.stream.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// The way out, for its last words.
    pub(super) fn with_outward(&self, say: impl FnOnce(&mut Outward)) {
        say(&mut self.outward.borrow_mut());
    }

    /// Throws away what still comes. `false`: nothing more does, or too much did.
    pub(super) fn discard(&self) -> bool {
        self.inward.borrow_mut().discard(&mut self.parent.h2.borrow_mut())
    }

    /// Nobody takes anything of it any more.
    pub(super) fn close(&self) {
        self.is_broken.set(true);
        self.parent.h2.borrow_mut().close(self.key);
        self.parent.tell();
    }
}
