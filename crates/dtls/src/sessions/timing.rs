//! What happens to sessions as time goes by: flights are sent again, handshakes that take
//! too long and sessions that are silent too long end, those with nothing to do freeze.

use super::{Entry, Sessions, TICK_MS};
use crate::engine::Progress;

/// How long a handshake may take, milliseconds.
const HANDSHAKE_MS: u64 = 30_000;
/// Sessions that one tick looks at, so that none takes long.
const SWEEP: usize = 1_024;
/// A session that has nothing to do for that long is kept as a few hundred bytes.
const FREEZE_MS: u64 = 10_000;

impl Sessions {
    /// When [`Sessions::handle_timeout`] is to be called, milliseconds.
    pub fn next_timeout(&self) -> Option<u64> {
        (!self.table.is_empty()).then_some(self.tick_at)
    }

    /// Sends flights again, and forgets what takes or is silent for too long.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if self.table.is_empty() || now_ms < self.tick_at {
            return;
        }
        for slot in self.handshakes.clone() {
            let Some(entry) = self.table.get_mut(slot) else { continue };
            let progress = match now_ms.saturating_sub(entry.used_at) > HANDSHAKE_MS {
                true => Progress { ended: Some("dtls-timeout"), ..Progress::default() },
                false => entry.session.live().map_or_else(Progress::default, |session| session.handle_timeout(now_ms)),
            };
            self.settle(slot, progress);
        }
        for _ in 0..SWEEP.min(self.table.capacity()) {
            let slot = self.sweep_at;
            self.sweep_at = (slot + 1) % self.table.capacity().max(1);
            let silent = |entry: &Entry| entry.is_open && now_ms.saturating_sub(entry.used_at) > self.bounds.idle_ms;
            if self.table.get(slot).is_some_and(silent) {
                self.close(slot, "dtls-idle");
            } else if let Some(entry) = self.table.get_mut(slot)
                && entry.is_open
                && now_ms.saturating_sub(entry.touched_at) > FREEZE_MS
            {
                entry.session.freeze();
            }
        }
        // Without handshakes nothing is urgent.
        self.tick_at = now_ms + if self.handshakes.is_empty() { TICK_MS * 10 } else { TICK_MS };
    }

    /// Says goodbye to everybody.
    pub fn leave(&mut self) {
        let slots: Vec<usize> = self.table.iter().map(|(slot, _)| slot).collect();
        slots.into_iter().for_each(|slot| self.close(slot, "dtls-closed"));
    }

    fn close(&mut self, slot: usize, reason: &'static str) {
        let Some(entry) = self.table.get_mut(slot) else { return };
        if let Some(session) = entry.session.live() {
            session.close();
        }
        self.settle(slot, Progress { ended: Some(reason), ..Progress::default() });
    }
}
