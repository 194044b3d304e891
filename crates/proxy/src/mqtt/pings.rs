//! Pings of a client while one of its packets waits for a verdict. Packets behind that one keep
//! their order and wait; a PINGREQ has none to keep, and who does not hear of it takes the gateway for dead.

use super::serve::Connection;
use super::taking::Rest;
use crate::client::Client;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

/// Bytes behind a packet that waits up to which more is read.
const AHEAD_BYTES: usize = 4 << 10;

impl Connection {
    /// Waits for `verdict`, which does not need the connection, and answers pings meanwhile.
    pub(super) async fn answering<T>(&mut self, verdict: impl Future<Output = T>, rest: &mut Rest) -> T {
        let (mut verdict, mut waits) = (pin!(verdict), false);
        poll_fn(|cx| {
            let polled = verdict.as_mut().poll(cx);
            if polled.is_pending() {
                if !std::mem::replace(&mut waits, true) {
                    // What came together with the packet.
                    self.answer_ahead(rest);
                }
                self.read_ahead(rest, cx);
            }
            polled
        })
        .await
    }

    /// Reads on as far as there is room; what is no ping stays for later.
    fn read_ahead(&mut self, rest: &mut Rest, cx: &mut Context<'_>) {
        self.client.connection.register(cx.waker());
        let is_full = |out: &[u8]| out.len() >= AHEAD_BYTES;
        // Who pings and does not read what it gets is not read from either.
        while !self.client.is_at_end && !is_full(self.ahead(rest)) && !is_full(&self.link.out.borrow()) {
            let Poll::Ready(Ok(mut input)) = self.client.poll_input(cx) else { return };
            if let Rest::Inbox { is_last } = &mut *rest {
                *is_last |= !self.fill_inbox(&mut input);
                if *is_last {
                    return self.client.stash(input);
                }
            }
            self.client.stash(input);
            self.answer_ahead(rest);
        }
    }

    fn ahead(&mut self, rest: &Rest) -> &mut Vec<u8> {
        match rest {
            Rest::Read => &mut self.client.carry,
            Rest::Inbox { .. } => self.waiting(),
        }
    }

    fn answer_ahead(&mut self, rest: &Rest) {
        let pings = take_pings(self.ahead(rest));
        if pings == 0 {
            return;
        }
        let Client { worker, connection, .. } = &self.client;
        let now = worker.clock.millis();
        connection.last_activity.set(now);
        if let Some(relay) = &mut self.relay {
            return relay.ping(pings);
        }
        for _ in 0..pings {
            self.link.session.borrow_mut().ping(now, &mut self.link.out.borrow_mut());
        }
        self.mark();
    }
}

/// Takes whole PINGREQs out of packets that wait: how many there were. Nothing behind a
/// DISCONNECT, nor behind what is no packet, is looked at.
fn take_pings(bytes: &mut Vec<u8>) -> usize {
    // What stays moves to the front as it is met: a buffer full of pings is gone through once.
    let (mut at, mut kept, mut pings) = (0, 0, 0);
    while let Some(len) = whole(&bytes[at..]).filter(|_| bytes[at] != DISCONNECT) {
        if bytes[at] == PINGREQ && len == 2 {
            pings += 1;
        } else {
            bytes.copy_within(at..at + len, kept);
            kept += len;
        }
        at += len;
    }
    bytes.drain(kept..at);
    pings
}

const PINGREQ: u8 = 0xc0;
const DISCONNECT: u8 = 0xe0;

/// The length of the packet at the front, if it is there as a whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let (mut len, mut shift) = (0, 0);
    for (index, byte) in bytes.get(1..)?.iter().take(4).enumerate() {
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            let total = 2 + index + len;
            return (total <= bytes.len()).then_some(total);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_taken_from_between_packets_and_nothing_else_is_touched() {
        // A PUBLISH with the bytes of a ping in it, a ping, a PUBACK, two pings, a part of a PUBLISH.
        let publish = [0x30, 5, 0, 1, b't', 0xc0, 0];
        let mut bytes = [&publish[..], &[0xc0, 0, 0x40, 2, 0, 1, 0xc0, 0, 0xc0, 0], &publish[..4]].concat();
        assert_eq!(take_pings(&mut bytes), 3);
        assert_eq!(bytes, [&publish[..], &[0x40, 2, 0, 1], &publish[..4]].concat());
    }

    #[test]
    fn nothing_behind_the_end_is_answered() {
        for end in [&[0xe0, 0][..], &[0x30, 0xff, 0xff, 0xff, 0xff, 1], &[0xc0, 1]] {
            let mut bytes = [end, &[0xc0, 0]].concat();
            let before = bytes.clone();
            assert_eq!((take_pings(&mut bytes), &bytes), (0, &before), "{end:?}");
        }
        assert_eq!(take_pings(&mut vec![0xc0]), 0);
    }
}
