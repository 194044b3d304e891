//! Whose password is compared next. A comparison takes 20 MiB and tens of milliseconds of a core, and anybody may
//! ask for one: as many run as there are cores, in the order in which they came, and of one source half of them.
//! The others wait, as long as they are there; there are no more of them than connections and their streams.

use super::hash::Memory;
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZero;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Sources that are remembered before those that nobody waits for are forgotten.
const SOURCES: usize = 1_024;

/// Comparisons of the whole process, and those of each source.
struct Turns {
    all: Semaphore,
    of_source: usize,
    lanes: Mutex<HashMap<u128, Arc<Semaphore>>>,
    /// Of comparisons that are over, for the next ones.
    memories: Mutex<Vec<Memory>>,
}

/// The right to compare one, and what to do it in.
pub(super) struct Turn<'t> {
    pub(super) memory: Memory,
    turns: &'t Turns,
    _all: SemaphorePermit<'t>,
    _lane: OwnedSemaphorePermit,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        locked(&self.turns.memories).push(std::mem::take(&mut self.memory));
    }
}

static TURNS: LazyLock<Turns> = LazyLock::new(|| Turns::new(available_parallelism().map_or(1, NonZero::get)));

/// Waits until a password that came from there may be compared. `None`: its client `left` before that.
pub(super) async fn turn(source: IpAddr, left: impl Future<Output = ()>) -> Option<Turn<'static>> {
    tokio::select! {
        biased;
        turn = TURNS.turn(source) => turn,
        () = left => None,
    }
}

impl Turns {
    fn new(cores: usize) -> Turns {
        Turns {
            all: Semaphore::new(cores),
            of_source: cores.div_ceil(2),
            lanes: Mutex::default(),
            memories: Mutex::default(),
        }
    }

    /// `None`: never, as nobody closes the lines.
    async fn turn(&self, source: IpAddr) -> Option<Turn<'_>> {
        // Its own line first: else it would take all places in the common one.
        let lane = self.lane(source).acquire_owned().await.ok()?;
        let all = self.all.acquire().await.ok()?;
        let memory = locked(&self.memories).pop().unwrap_or_default();
        Some(Turn { memory, turns: self, _all: all, _lane: lane })
    }

    fn lane(&self, source: IpAddr) -> Arc<Semaphore> {
        // Whoever has one address of IPv6 has a network of them.
        let key = match source.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
            IpAddr::V6(v6) => u128::from(v6) >> 64 << 64,
        };
        let mut lanes = locked(&self.lanes);
        if lanes.len() >= SOURCES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(lanes.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.of_source))))
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn one_source_leaves_room_for_others_and_all_together_take_no_more_than_there_is() {
        let turns = Turns::new(4);
        let mut cx = Context::from_waker(Waker::noop());
        let mut ask = |from: &str| {
            let mut asked = Box::pin(turns.turn(from.parse().expect("an address")));
            match asked.as_mut().poll(&mut cx) {
                Poll::Ready(turn) => Ok(turn),
                Poll::Pending => Err(asked),
            }
        };
        let first = [ask("192.0.2.1"), ask("::ffff:192.0.2.1")];
        assert!(first.iter().all(Result::is_ok) && ask("192.0.2.1").is_err());
        let others = [ask("2001:db8::1"), ask("2001:db8::2")];
        assert!(others.iter().all(Result::is_ok) && ask("2001:db8::3").is_err() && ask("2001:db8:0:1::").is_err());
        drop(first);
        assert!(ask("192.0.2.1").is_ok() && ask("2001:db8:0:1::").is_ok());
    }

    #[test]
    fn sources_that_nobody_waits_for_are_forgotten() {
        let turns = Turns::new(1);
        for n in 0..5_000_u32 {
            drop(turns.lane(IpAddr::from(n.to_be_bytes())));
        }
        assert!(turns.lanes.lock().expect("nobody panicked").len() <= SOURCES);
    }
}
