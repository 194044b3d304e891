//! Payloads of questions: native keeps them until a policy asks for one, and the
//! policy's own stands here until its verdict is taken. Bounded by the questions.

use parking_lot::Mutex;
use std::collections::HashMap;
use tidegate_ring::Asked;

#[derive(Default)]
struct Pair {
    asked: Vec<u8>,
    answered: Option<Vec<u8>>,
}

/// Payloads of all workers' questions.
#[derive(Default)]
pub(crate) struct Payloads(Mutex<HashMap<(u16, Asked), Pair>>);

impl Payloads {
    /// Asks, and keeps the payload before anybody can look for it.
    pub(crate) fn ask(&self, worker: u16, payload: &[u8], ask: impl FnOnce() -> Option<Asked>) -> Option<Asked> {
        let mut pairs = self.0.lock();
        let asked = ask()?;
        pairs.insert((worker, asked), Pair { asked: payload.to_vec(), answered: None });
        Some(asked)
    }

    /// For the policy thread: the payload; `None`: nobody waits any more.
    pub(crate) fn asked(&self, worker: u16, asked: Asked) -> Option<Vec<u8>> {
        self.0.lock().get(&(worker, asked)).map(|pair| pair.asked.clone())
    }

    /// The policy thread's own payload, ahead of its verdict.
    pub(crate) fn answer(&self, worker: u16, asked: Asked, payload: Vec<u8>) {
        if let Some(pair) = self.0.lock().get_mut(&(worker, asked)) {
            pair.answered = Some(payload);
        }
    }

    /// The question stands in another ring now.
    pub(crate) fn redirect(&self, worker: u16, from: Asked, to: Asked) {
        let mut pairs = self.0.lock();
        if let Some(pair) = pairs.remove(&(worker, from)) {
            pairs.insert((worker, to), pair);
        }
    }

    /// The question is over: what the policy made of the payload.
    pub(crate) fn take(&self, worker: u16, asked: Asked) -> Option<Vec<u8>> {
        self.0.lock().remove(&(worker, asked)).and_then(|pair| pair.answered)
    }
}
