//! What one listener saw, by protocol; found by its name, so that it outlives plans.

use super::Counter;
use tidegate_listener::Refusal;
use tidegate_message::Protocol;

/// Connections of one protocol.
#[derive(Default, Debug)]
pub(crate) struct Connected {
    pub(crate) open: Counter,
    pub(crate) accepted: Counter,
}

/// One listener on one worker.
#[derive(Default, Debug)]
pub(crate) struct ListenerCounters {
    protocols: [Connected; Protocol::ALL.len()],
    refused: [Counter; REFUSALS.len()],
    /// CONNECTs that came too fast.
    pub(crate) refused_rate: Counter,
}

const REFUSALS: [Refusal; 3] = [Refusal::Total, Refusal::Source, Refusal::Pace];

impl ListenerCounters {
    pub(crate) fn of(&self, protocol: Protocol) -> &Connected {
        &self.protocols[protocol as usize]
    }

    /// Counts a connection that was not admitted.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].add(1);
    }

    /// Outcomes of connections that were refused, with how many.
    pub(crate) fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REFUSALS.into_iter().zip(&self.refused).map(|(refusal, counter)| (refusal.label(), counter.value()))
    }
}
