//! One fetch for each miss: who comes first goes to the upstream, who comes meanwhile waits.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::{Key, Store, Stored};

/// What a request without a usable answer does.
#[derive(Debug)]
pub enum Begun {
    /// It fetches.
    Fetch(Ticket),
    /// It waits for who does.
    Wait(Waiting),
    /// It goes to the upstream as if nothing were kept: answers of its kind were not, lately.
    Pass,
}

/// A fetch under way; however it ends, who waits looks again.
#[derive(Debug)]
pub struct Ticket {
    store: Arc<Store>,
    key: Key,
    stored: Option<Arc<Stored>>,
}

/// Ready when the fetch is over.
#[derive(Debug)]
pub struct Waiting {
    store: Arc<Store>,
    key: Key,
}

impl Ticket {
    /// Begins a fetch, or joins one.
    pub fn begin(store: &Arc<Store>, key: &Key, now_ms: u64) -> Begun {
        let (store, begun) = (Arc::clone(store), store.begin(key, now_ms));
        match begun {
            None => Begun::Pass,
            Some(true) => Begun::Fetch(Ticket { store, key: key.clone(), stored: None }),
            Some(false) => Begun::Wait(Waiting { store, key: key.clone() }),
        }
    }

    /// It brought an answer that is kept.
    pub fn keep(mut self, stored: Arc<Stored>) {
        self.stored = Some(stored);
    }

    /// It brought one that is not: nobody waits for the next ones.
    pub fn refuse(self, now_ms: u64) {
        self.store.pass(&self.key, now_ms);
    }

    /// Longest body that is kept.
    pub fn entry_bytes(&self) -> usize {
        self.store.entry_bytes()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.store.end(&self.key, self.stored.take());
    }
}

impl Future for Waiting {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.store.wait(&self.key, cx.waker()) { Poll::Pending } else { Poll::Ready(()) }
    }
}
