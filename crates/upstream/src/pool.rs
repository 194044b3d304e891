//! Free connections of one worker, the last used first, so that what is not
//! needed grows old and is closed.

use crate::{ConnectError, Place, Places};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Everything that must be equal for two requests to share a connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PoolKey {
    /// Where to.
    pub address: SocketAddr,
    /// The upstream it belongs to.
    pub upstream: Box<str>,
    /// How it is spoken to: protocol, server name, certificates, verification.
    pub content: Box<str>,
}

/// What can wait for its next use.
pub trait Reusable {
    /// Whether it still can: nothing came that nobody asked for, and it was not closed.
    fn is_quiet(&self) -> bool;
}

impl Reusable for TcpStream {
    // Costs no system call: the runtime already knows whether there is something to read.
    fn is_quiet(&self) -> bool {
        self.poll_read_ready(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}

/// An open connection and its place among those of its upstream.
#[derive(Debug)]
pub struct Connection<S = TcpStream> {
    /// Nothing of an earlier answer is left in it.
    pub stream: S,
    /// Given back when the connection closes; none where somebody else holds it.
    pub place: Option<Place>,
}

/// A connection that waits for its next request.
#[derive(Debug)]
struct Idle<S> {
    connection: Connection<S>,
    /// When it is closed, in milliseconds of the worker's clock.
    until: u64,
}

/// Free connections to one endpoint. A plan that still names the endpoint keeps its pool.
#[derive(Debug)]
pub struct Pool<S = TcpStream> {
    idle: RefCell<Vec<Idle<S>>>,
    /// Requests of this worker that wait for a connection to this endpoint.
    waiters: RefCell<VecDeque<oneshot::Sender<Connection<S>>>>,
    places: Arc<Places>,
}

impl<S: Reusable> Pool<S> {
    /// An empty pool of an upstream.
    pub fn new(places: Arc<Places>) -> Self {
        Pool { idle: RefCell::default(), waiters: RefCell::default(), places }
    }

    /// The most recently used connection that is to be kept at `now` and that the endpoint
    /// has not closed. One past its time is not used, though it still stands in the pool:
    /// the endpoint may be closing it at this moment.
    pub fn take(&self, now: u64) -> Option<Connection<S>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, until }) = idle.pop() {
            if until > now && connection.stream.is_quiet() {
                return Some(connection);
            }
        }
        None
    }

    /// Gives a connection back, to be kept until a time: to who waits here, else to the
    /// pool, unless somebody waits elsewhere for its place.
    pub fn give(&self, mut connection: Connection<S>, until: u64) {
        while let Some(waiter) = self.waiters.borrow_mut().pop_front() {
            match waiter.send(connection) {
                Ok(()) => return,
                Err(back) => connection = back,
            }
        }
        if self.places.waiting() == 0 {
            self.idle.borrow_mut().push(Idle { connection, until });
        }
    }

    /// A free connection, or a new one as soon as the upstream may have one more;
    /// whether it served a request before.
    ///
    /// # Errors
    /// The endpoint refused, cannot be reached, or did not answer in time.
    pub async fn acquire(
        &self,
        dial: impl Future<Output = Result<S, ConnectError>>,
    ) -> Result<(Connection<S>, bool), ConnectError> {
        let place = match self.places.take() {
            Some(place) => place,
            None => match self.wait().await {
                Ok(connection) => return Ok((connection, true)),
                Err(place) => place,
            },
        };
        let stream = dial.await?;
        Ok((Connection { stream, place: Some(place) }, false))
    }

    /// Waits for a connection of this worker or a place of any.
    async fn wait(&self) -> Result<Connection<S>, Place> {
        let _in_line = self.places.line_up();
        loop {
            let freed = self.places.freed().notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            // What is given back while somebody waits has only just been used.
            if let Some(connection) = self.take(0) {
                return Ok(connection);
            }
            if let Some(place) = self.places.take() {
                return Err(place);
            }
            let (sender, given) = oneshot::channel();
            self.waiters.borrow_mut().push_back(sender);
            tokio::select! {
                Ok(connection) = given => return Ok(connection),
                () = freed => {}
            }
        }
    }

    /// Closes what has been free too long; everything, where somebody waits for a place
    /// that none of this pool's own requests waits for. Returns how many.
    pub fn expire(&self, now: u64) -> usize {
        self.waiters.borrow_mut().retain(|waiter| !waiter.is_closed());
        let mut idle = self.idle.borrow_mut();
        let before = idle.len();
        if self.places.waiting() > 0 && self.waiters.borrow().is_empty() {
            idle.clear();
        }
        idle.retain(|entry| entry.until > now);
        before - idle.len()
    }

    /// Closes the connection that was free longest, to make room for another endpoint's.
    pub fn make_room(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let any = !idle.is_empty();
        if any {
            idle.remove(0);
        }
        any
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
    use crate::connect;
    use std::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    const TIMEOUT: Duration = Duration::from_secs(1);

    async fn server() -> (tokio::net::TcpListener, SocketAddr) {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = server.local_addr().expect("bound");
        (server, address)
    }

    #[test]
    fn hands_out_the_last_used_first_and_never_one_that_was_closed() {
        runtime().block_on(async {
            let (server, address) = server().await;
            let pool = Pool::new(Places::new(8));
            let mut ends = Vec::new();
            for until in 1..=2 {
                let (connection, is_reused) = pool.acquire(connect(address, TIMEOUT)).await.expect("connected");
                assert!(!is_reused);
                ends.push((server.accept().await.expect("accepted").0, connection, until));
            }
            let mut far = Vec::new();
            for (end, connection, until) in ends {
                pool.give(connection, until * 100);
                far.push(end);
            }
            let newest = far.remove(1);
            let port = newest.peer_addr().expect("open").port();
            let first = pool.take(0).expect("one is free");
            assert_eq!(first.stream.local_addr().expect("open").port(), port);
            pool.give(first, 200);
            drop(newest);
            // The runtime hears of the closing when it next looks at its sockets.
            while pool.len() == 2 {
                tokio::task::yield_now().await;
                let taken = pool.take(0).expect("the other is still open");
                let same = taken.stream.local_addr().expect("open").port() == port;
                pool.give(taken, if same { 200 } else { 100 });
                if !same {
                    break;
                }
            }
            assert_eq!(pool.expire(100), 1);
            assert!(pool.take(0).is_none());
        });
    }

    #[test]
    fn does_not_hand_out_one_past_its_time() {
        runtime().block_on(async {
            let (server, address) = server().await;
            let pool = Pool::new(Places::new(8));
            let mut far = Vec::new();
            for until in [100, 100] {
                let (connection, _) = pool.acquire(connect(address, TIMEOUT)).await.expect("connected");
                far.push(server.accept().await.expect("accepted").0);
                pool.give(connection, until);
                let taken = pool.take(99).expect("not yet over");
                pool.give(taken, until);
                assert!(pool.take(100).is_none());
            }
        });
    }

    #[test]
    fn who_finds_no_place_waits_for_a_connection_or_a_place() {
        runtime().block_on(async {
            let (server, address) = server().await;
            let places = Places::new(1);
            let (here, elsewhere) = (Pool::new(Arc::clone(&places)), Pool::new(Arc::clone(&places)));
            let (first, _) = here.acquire(connect(address, TIMEOUT)).await.expect("connected");
            let _far = server.accept().await.expect("accepted");
            let give = async {
                tokio::task::yield_now().await;
                assert_eq!(places.waiting(), 1);
                here.give(first, 100);
            };
            let (waited, ()) = tokio::join!(here.acquire(connect(address, TIMEOUT)), give);
            let (second, is_reused) = waited.expect("handed over");
            assert!(is_reused && places.taken() == 1);
            let give = async {
                tokio::task::yield_now().await;
                // Nobody waits here, but elsewhere: the place is worth more than the connection.
                here.give(second, 100);
                assert!(here.is_empty());
            };
            let (waited, ()) = tokio::join!(elsewhere.acquire(connect(address, TIMEOUT)), give);
            assert!(!waited.expect("a new one").1);
            assert_eq!((places.taken(), places.waiting()), (0, 0));
        });
    }
}
