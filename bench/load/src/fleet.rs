//! All connections of a run behind one `epoll`, edge-triggered.

use crate::client::Client;
use mio::{Events, Interest, Poll, Token};
use std::time::Duration;

/// Largest packet plus what follows it in one read.
const SCRATCH: usize = 1 << 18;

/// The connections and what waits for their events.
pub struct Fleet {
    /// Publishers first, then subscribers.
    pub clients: Vec<Client>,
    /// One buffer for every read.
    pub scratch: Vec<u8>,
    poll: Poll,
    events: Events,
}

impl Fleet {
    /// Registers the connections; the index of each is its token.
    pub fn new(mut clients: Vec<Client>) -> Result<Fleet, String> {
        let poll = Poll::new().map_err(|error| error.to_string())?;
        for (index, client) in clients.iter_mut().enumerate() {
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut client.stream, Token(index), interest).map_err(|error| error.to_string())?;
        }
        Ok(Fleet { clients, scratch: vec![0; SCRATCH], poll, events: Events::with_capacity(1024) })
    }

    /// Waits for events; the indexes of the connections that have one.
    pub fn wait(&mut self, timeout: Duration, ready: &mut Vec<usize>) -> Result<(), String> {
        ready.clear();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome.map_err(|error| error.to_string())?,
        }
        ready.extend(self.events.iter().map(|event| event.token().0));
        Ok(())
    }
}
