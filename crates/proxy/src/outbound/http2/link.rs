//! One connection as its streams and its task see it.

use crate::worker::Worker;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tidegate_http2::Connection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Reads of one turn; others on the worker come then.
const READS_A_TURN: usize = 4;

/// See the module.
pub(super) struct Link {
    pub(super) h2: RefCell<Connection>,
    pub(super) scheme: &'static str,
    /// Who it is, for requests that do not say.
    pub(super) authority: Box<str>,
    /// Streams that are in use.
    pub(super) active: Cell<usize>,
    is_closed: Cell<bool>,
    /// The connection's task.
    driver: RefCell<Option<Waker>>,
    /// Who waits for the settings.
    opener: RefCell<Option<Waker>>,
}

impl Link {
    pub(super) fn new(h2: Connection, (scheme, authority): (&'static str, Box<str>)) -> Rc<Link> {
        let h2 = RefCell::new(h2);
        let (active, is_closed, driver, opener) = Default::default();
        Rc::new(Link { h2, scheme, authority, active, is_closed, driver, opener })
    }

    /// Does something with the connection; what it has to send then leaves when the worker is done with its turn.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Connection) -> T) -> T {
        let mut h2 = self.h2.borrow_mut();
        let before = h2.out().len();
        let done = act(&mut h2);
        if h2.out().len() != before {
            self.stir();
        }
        done
    }

    /// Whether it takes requests.
    pub(super) fn is_open(&self) -> bool {
        !self.is_closed.get() && self.h2.borrow().is_open()
    }

    /// No more is asked on it.
    pub(super) fn retire(&self) {
        self.with(Connection::retire);
        self.stir();
    }

    /// Wakes the connection's task.
    fn stir(&self) {
        if let Some(driver) = &*self.driver.borrow() {
            driver.wake_by_ref();
        }
    }

    /// Wakes who waits for the settings.
    fn is_heard(&self) {
        if let Some(opener) = self.opener.take() {
            opener.wake();
        }
    }

    /// Waits for the server's settings: how many streams it takes, whether WebSockets too, and that it speaks
    /// HTTP/2 at all.
    pub(super) fn poll_open(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.is_closed.get() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.h2.borrow().has_settings() {
            return Poll::Ready(Ok(()));
        }
        *self.opener.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Moves what comes and what leaves, as long as there is somebody for it.
    pub(super) async fn drive<I: AsyncRead + AsyncWrite + Unpin>(self: Rc<Self>, mut io: I, worker: Rc<Worker>) {
        // How it ended is told by its streams.
        let _ = poll_fn(|cx| self.poll(cx, &mut io, &worker)).await;
        self.is_closed.set(true);
        self.h2.borrow_mut().lose();
        self.is_heard();
    }

    /// Ready: the connection is over.
    fn poll<I: AsyncRead + AsyncWrite + Unpin>(
        &self,
        cx: &mut Context<'_>,
        io: &mut I,
        worker: &Worker,
    ) -> Poll<io::Result<()>> {
        match &mut *self.driver.borrow_mut() {
            Some(known) => known.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        for _ in 0..READS_A_TURN {
            self.flush(cx, io)?;
            let mut h2 = self.h2.borrow_mut();
            h2.give_turns();
            if h2.is_over() && h2.out().is_empty() {
                return Poll::Ready(Ok(()));
            }
            // A server may read no more until it is read: only what its own frames lead to holds us up.
            if h2.is_clogged() {
                return Poll::Pending;
            }
            let mut buffer = worker.buffers.take();
            let mut read = ReadBuf::new(&mut buffer);
            let polled = Pin::new(&mut *io).poll_read(cx, &mut read);
            let is_end = read.filled().is_empty();
            if !is_end {
                h2.receive_answers(read.filled(), worker.clock.read_millis());
            }
            worker.buffers.give(buffer);
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if is_end => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(read) => read?,
            }
            if h2.has_settings() {
                self.is_heard();
            }
        }
        self.flush(cx, io)?;
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Sends what there is, as far as the socket takes it; it wakes the task when it takes more.
    fn flush<I: AsyncWrite + Unpin>(&self, cx: &mut Context<'_>, io: &mut I) -> io::Result<()> {
        let mut h2 = self.h2.borrow_mut();
        while !h2.out().is_empty() {
            match Pin::new(&mut *io).poll_write(cx, h2.out()) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => h2.took(count?),
            }
        }
        Ok(())
    }
}
