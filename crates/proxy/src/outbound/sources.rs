//! Where an endpoint's connections come from: those that are free, and those of
//! HTTP/2 that have room for another stream.

use super::Outbound;
use super::dial::{Dialing, Towards, Wire, dial};
use super::http2::SharedH2;
use crate::worker::Worker;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_upstream::{ConnectError, Connection, Places, Pool};

/// One endpoint's connections on one worker.
pub(crate) struct Sources {
    pool: Pool<Outbound>,
    shared: RefCell<Vec<SharedH2>>,
    /// Who opens a connection that others can share, one at a time.
    turn: tokio::sync::Mutex<()>,
    /// A connection serves the client that it was opened for, and nobody else.
    is_private: bool,
}

impl Sources {
    pub(crate) fn new(places: Arc<Places>, is_private: bool) -> Self {
        Sources { pool: Pool::new(places), shared: RefCell::default(), turn: tokio::sync::Mutex::new(()), is_private }
    }

    /// A stream of a connection that has room, or a connection that is free at `now`.
    pub(crate) fn take(&self, now: u64) -> Option<Connection<Outbound>> {
        self.stream().or_else(|| self.pool.take(now))
    }

    fn stream(&self) -> Option<Connection<Outbound>> {
        let mut shared = self.shared.borrow_mut();
        if shared.is_empty() {
            return None;
        }
        shared.retain(SharedH2::is_open);
        let stream = shared.iter_mut().find_map(SharedH2::stream)?;
        Some(Connection { stream: Outbound::H2(Box::new(stream)), place: None })
    }

    /// Gives a connection back; a stream has served its request and is gone.
    pub(crate) fn give(&self, connection: Connection<Outbound>, until: u64) {
        if !matches!(connection.stream, Outbound::H2(_) | Outbound::Coap(_)) && !self.is_private {
            self.pool.give(connection, until);
        }
    }

    /// A connection or a stream as soon as there can be one; whether it served a request before.
    ///
    /// # Errors
    /// The endpoint refused, cannot be reached, did not answer in time or did not prove its name.
    pub(crate) async fn acquire(
        &self,
        worker: &Rc<Worker>,
        to: &Towards,
        dialing: &Dialing,
    ) -> Result<(Connection<Outbound>, bool), ConnectError> {
        // Who waits behind the first one finds its connection and needs none.
        let _turn = match dialing.wire {
            Wire::Http2 => Some(self.turn.lock().await),
            Wire::Http1 | Wire::Coap => None,
        };
        if let Some(stream) = self.stream() {
            return Ok((stream, true));
        }
        let opening = dial(worker, to, (dialing, &self.shared));
        let (mut connection, is_reused) = self.pool.acquire(opening).await?;
        if matches!(connection.stream, Outbound::H2(_))
            && let Some(place) = connection.place.take()
            && let Some(shared) = self.shared.borrow_mut().last_mut()
        {
            shared.keep(place);
        }
        Ok((connection, is_reused))
    }

    /// Closes what has been free too long: HTTP/2 after `idle_ms`, others each at its time.
    /// Returns how many.
    pub(crate) fn expire(&self, now: u64, idle_ms: u64) -> usize {
        self.shared.borrow_mut().retain_mut(|shared| shared.is_kept(now, idle_ms));
        self.pool.expire(now)
    }

    /// Closes a connection that is free, to make room for another endpoint's.
    pub(crate) fn make_room(&self) -> bool {
        let mut shared = self.shared.borrow_mut();
        let idle = shared.iter().position(SharedH2::is_idle);
        idle.map(|at| shared.remove(at)).is_some() || self.pool.make_room()
    }

    /// Free connections, and those that streams share.
    pub(crate) fn len(&self) -> usize {
        self.pool.len() + self.shared.borrow().len()
    }
}
