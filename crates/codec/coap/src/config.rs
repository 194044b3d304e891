//! Bounds and times of the message layer, with their defaults.

use std::hash::RandomState;

use tidegate_message::Limits;

use crate::Sleep;

/// Bounds and times of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Bounds of messages and bodies.
    pub limits: Limits,
    /// Largest block, bytes. Default 1,024; rounded down to 16 to 1,024.
    pub max_block: usize,
    /// Observations in all. Default 10,000.
    pub max_observers: usize,
    /// Observations of one peer. Default 100.
    pub max_observers_per_peer: usize,
    /// Messages that are remembered for de-duplication. Default 16,384.
    pub dedup_entries: usize,
    /// First wait for an acknowledgement, milliseconds. Default 2,000.
    pub ack_timeout_ms: u64,
    /// How often a message is sent again. Default 4.
    pub max_retransmit: u32,
    /// What is kept for observers that sleep.
    pub sleep: Sleep,
    /// For message ids and waits.
    pub seed: u64,
    /// Key of Echo values; workers of one gateway share it.
    pub secret: RandomState,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        EndpointConfig {
            limits: Limits::default(),
            max_block: 1_024,
            max_observers: 10_000,
            max_observers_per_peer: 100,
            dedup_entries: 16_384,
            ack_timeout_ms: 2_000,
            max_retransmit: 4,
            sleep: Sleep::default(),
            seed: 1,
            secret: RandomState::new(),
        }
    }
}
