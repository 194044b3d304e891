//! Keys of DTLS that `onPsk` is asked for: a handshake waits, its socket does not. As many
//! questions are under way as handshakes are, and `limits.maxDecisions` lets.

use crate::hooks::{HookView, psk};
use crate::worker::Worker;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use tidegate_message::{Peer, Protocol};
use tokio::sync::mpsc;

/// Answers that wait for the socket; beyond them those who bring them wait.
const ANSWERS_MAX: usize = 256;

/// For the handshake of that name its key, or that there is none.
pub(super) type KeyAnswer = (SocketAddr, Option<Box<[u8]>>);

/// The questions of one socket.
pub(super) struct Keys {
    worker: Rc<Worker>,
    way: mpsc::Sender<KeyAnswer>,
    answers: mpsc::Receiver<KeyAnswer>,
}

impl Keys {
    pub(super) fn new(worker: &Rc<Worker>) -> Self {
        let (way, answers) = mpsc::channel(ANSWERS_MAX);
        Keys { worker: Rc::clone(worker), way, answers }
    }

    /// Asks for the key of an identity.
    pub(super) fn ask(&self, name: SocketAddr, identity: Box<str>) {
        let (worker, way) = (Rc::clone(&self.worker), self.way.clone());
        tokio::task::spawn_local(async move {
            let (plan, peer) = (worker.plan(), Peer::new(name));
            let view = HookView::new(Protocol::Coap, &peer, Some(&identity)).with("hook", &b"psk"[..]);
            let key = psk(&worker, &plan, &view).await;
            // Without the socket there is no handshake either.
            let _ = way.send((name, key)).await;
        });
    }

    /// The next answer.
    pub(super) fn poll_answer(&mut self, cx: &mut Context<'_>) -> Option<KeyAnswer> {
        match self.answers.poll_recv(cx) {
            Poll::Ready(answer) => answer,
            Poll::Pending => None,
        }
    }
}
