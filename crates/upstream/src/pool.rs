//! Free connections of one worker, the last used first, so that what is not
//! needed grows old and is closed.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::task::{Context, Waker};
use tokio::net::TcpStream;

/// Everything that must be equal for two requests to share a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PoolKey {
    /// Where to.
    pub address: SocketAddr,
    /// The upstream it belongs to: its TLS settings and limits are part of it.
    pub upstream: Box<str>,
}

/// A connection that waits for its next request.
#[derive(Debug)]
pub struct Idle {
    /// The connection; nothing of an earlier answer is left in it.
    pub stream: TcpStream,
    /// When it became free, in milliseconds of the worker's clock.
    pub since: u64,
}

/// Free connections to one endpoint. A plan that still names the endpoint keeps its pool.
#[derive(Debug)]
pub struct Pool {
    idle: RefCell<Vec<Idle>>,
    max_idle: usize,
}

impl Pool {
    /// An empty pool of at most `max_idle` free connections.
    pub const fn new(max_idle: usize) -> Self {
        Pool { idle: RefCell::new(Vec::new()), max_idle }
    }

    /// The most recently used connection that the endpoint has not closed. Costs no
    /// system call: the runtime already knows whether there is something to read, and
    /// there must not be.
    pub fn take(&self) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { stream, .. }) = idle.pop() {
            let mut cx = Context::from_waker(Waker::noop());
            if stream.poll_read_ready(&mut cx).is_pending() {
                return Some(stream);
            }
        }
        None
    }

    /// Gives a connection back; it is closed where the pool is full.
    pub fn give(&self, stream: TcpStream, now: u64) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.max_idle {
            idle.push(Idle { stream, since: now });
        }
    }

    /// Closes what has been free since before `oldest`. Returns how many.
    pub fn expire(&self, oldest: u64) -> usize {
        let mut idle = self.idle.borrow_mut();
        let old = idle.iter().take_while(|entry| entry.since < oldest).count();
        idle.drain(..old);
        old
    }

    /// Free connections.
    pub fn len(&self) -> usize {
        self.idle.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.idle.borrow().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn hands_out_the_last_used_first_and_never_one_that_was_closed() {
        runtime().block_on(async {
            let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = server.local_addr().expect("bound");
            let pool = Pool::new(2);
            let mut ends = Vec::new();
            for now in 0..3 {
                let stream = crate::connect(address, std::time::Duration::from_secs(1)).await.expect("connected");
                ends.push(server.accept().await.expect("accepted").0);
                pool.give(stream, now);
            }
            assert_eq!(pool.len(), 2);
            let newest = ends.remove(1);
            let port = newest.peer_addr().expect("open").port();
            let first = pool.take().expect("one is free");
            assert_eq!(first.local_addr().expect("open").port(), port);
            pool.give(first, 5);
            drop(newest);
            // The runtime hears of the closing when it next looks at its sockets.
            while pool.len() == 2 {
                tokio::task::yield_now().await;
                let taken = pool.take().expect("the other is still open");
                let same = taken.local_addr().expect("open").port() == port;
                pool.give(taken, 6);
                if !same {
                    break;
                }
            }
            assert_eq!(pool.expire(100), 1);
            assert!(pool.take().is_none());
        });
    }
}
