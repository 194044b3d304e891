//! Control calls to workers.

use super::error::closed;
use super::{Gateway, GatewayError};
use crate::worker::Control;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long a worker may take to answer a control call.
const PATIENCE: Duration = Duration::from_secs(10);

impl Gateway {
    /// Asks every worker and waits for all answers.
    pub(crate) fn ask<T>(
        &self,
        mut message: impl FnMut(oneshot::Sender<T>) -> Control,
    ) -> Result<Vec<T>, GatewayError> {
        let mut waiting = Vec::with_capacity(self.workers.len());
        for worker in &self.workers {
            let (reply, answer) = oneshot::channel();
            send(worker, message(reply))?;
            waiting.push(answer);
        }
        waiting.into_iter().map(|answer| wait(answer).ok_or_else(closed)).collect()
    }

    /// Asks one worker and waits.
    pub(crate) fn ask_one<T>(
        &self,
        worker: usize,
        message: impl FnOnce(oneshot::Sender<T>) -> Control,
    ) -> Result<T, GatewayError> {
        let sender = self.workers.get(worker).ok_or_else(closed)?;
        let (reply, answer) = oneshot::channel();
        send(sender, message(reply))?;
        wait(answer).ok_or_else(closed)
    }
}

pub(super) fn send(worker: &mpsc::Sender<Control>, message: Control) -> Result<(), GatewayError> {
    worker.blocking_send(message).map_err(|_| closed())
}

/// A worker answers within one turn of its loop; one that does not is stuck or gone.
fn wait<T>(mut answer: oneshot::Receiver<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(50);
    loop {
        match answer.try_recv() {
            Ok(value) => return Some(value),
            Err(oneshot::error::TryRecvError::Closed) => return None,
            Err(oneshot::error::TryRecvError::Empty) if Instant::now() > end => return None,
            Err(oneshot::error::TryRecvError::Empty) => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(5));
            }
        }
    }
}
