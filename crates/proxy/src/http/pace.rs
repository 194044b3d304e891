//! The least that a client must bring, or take, while it is waited for: one byte at a time keeps a request,
//! and its upstream's connection, as busy as none does.

use crate::client::{Client, Ended};
use std::future::poll_fn;
use std::task::Poll;

/// Bytes a second, over each window.
const MIN_RATE: u64 = 512;

/// See the module. Begins with the first bytes that it is told of.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Pace {
    /// When the window began, milliseconds; 0: it has not.
    since: u64,
    bytes: u64,
}

impl Pace {
    /// Takes `bytes` that came at `now`. `false`: too few came in the window that is over.
    pub(crate) fn is_kept(&mut self, (now, window_ms): (u64, u64), bytes: usize) -> bool {
        if self.since == 0 {
            self.since = now.max(1);
        }
        self.bytes += bytes as u64;
        let elapsed = now.saturating_sub(self.since);
        if elapsed < window_ms {
            return true;
        }
        let is_kept = self.bytes >= MIN_RATE * elapsed / 1_000;
        *self = Pace { since: now.max(1), bytes: 0 };
        is_kept
    }
}

/// How old a look may be that a wait for the client begins with.
const LOOK_MS: u32 = 1_000;

/// From `now` on the client is waited for, to take what it was offered.
pub(super) fn await_taking(client: &Client, now: u64) {
    if (now as u32).wrapping_sub(client.connection.taken.get().0) >= LOOK_MS {
        client.connection.taken.set((now as u32, taken(client)));
    }
}

/// Whether it took enough since then, wherever that stands: who reads slowly may, who reads drips may not.
pub(super) fn keeps_taking(client: &Client, now: u64) -> bool {
    let (since, before) = client.connection.taken.replace((now as u32, taken(client)));
    let enough = (MIN_RATE * u64::from((now as u32).wrapping_sub(since)) / 1_000).max(1);
    u64::from(client.connection.taken.get().1.wrapping_sub(before)) >= enough
}

fn taken(client: &Client) -> u32 {
    client.connection.end.taken().unwrap_or_else(|| client.connection.bytes_out.get()) as u32
}

/// Writes everything as fast as the client takes it; each `window_ms` it must have taken enough.
///
/// # Errors
/// The client is gone or too slow.
pub(crate) async fn deliver(client: &mut Client, bytes: &[u8], window_ms: u64) -> Result<(), Ended> {
    let mut sent = 0;
    let now = client.worker.clock.millis();
    client.deadline(now, window_ms);
    let mut is_awaited = false;
    poll_fn(|cx| {
        client.connection.register(cx.waker());
        while sent < bytes.len() {
            if client.connection.timed_out.get() {
                let now = client.worker.clock.millis();
                if !is_awaited || !keeps_taking(client, now) {
                    client.connection.end.abandon();
                    return Poll::Ready(Err(Ended::TimedOut));
                }
                client.deadline(now, window_ms);
            }
            match client.write_now(cx, &bytes[sent..]) {
                Ok(0) => {
                    if !std::mem::replace(&mut is_awaited, true) {
                        await_taking(client, now);
                    }
                    return Poll::Pending;
                }
                Ok(count) => sent += count,
                Err(_) => return Poll::Ready(Err(Ended::Closed)),
            }
        }
        Poll::Ready(Ok(()))
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drips_are_too_little_and_short_bodies_have_their_window() {
        let mut pace = Pace::default();
        assert!((1..10).all(|second| pace.is_kept((second * 1_000, 10_000), 1)));
        assert!(!pace.is_kept((11_000, 10_000), 1));
        let mut pace = Pace::default();
        assert!((1..100).all(|second| pace.is_kept((second * 1_000, 10_000), 600)));
        // A burst does not carry what follows it.
        assert!(pace.is_kept((100_000, 10_000), 1 << 20));
        assert!(!(101..130).all(|second| pace.is_kept((second * 1_000, 10_000), 1)));
    }
}
