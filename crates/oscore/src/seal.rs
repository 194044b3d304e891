//! Answers as they go out (RFC 8613 section 8.3): the code, the options and the payload
//! inside, and outside what everybody may see.

use crate::binding::Bindings;
use crate::context::{Context, InFlight};
use crate::cose::{CoseOption, additional, nonce, piv_of};
use crate::keys::ALGORITHM;
use crate::open::put;
use crate::sequence::Sequence;
use crate::{Contexts, Keys, Ledger};
use std::net::SocketAddr;
use tidegate_coap::{Code, Head, Message, OptionList, OptionNumber, Token, Transport, Type, encode_frame};

impl Contexts {
    /// Seals a message to a name; where it is to be sent.
    ///
    /// # Errors
    /// Why it cannot be, as the reason of a drop.
    pub fn seal(&mut self, to: SocketAddr, plain: &[u8], out: &mut Vec<u8>) -> Result<SocketAddr, &'static str> {
        out.clear();
        let place = *self.by_name.get(&to).ok_or("oscore-gone")?;
        let address = self.contexts[place].peer.ok_or("oscore-gone")?.address;
        self.seal_in(place, plain, out).map(|()| address)
    }

    pub(crate) fn seal_in(&mut self, place: usize, plain: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        let Ok(message) = Message::decode(plain, usize::MAX - 1) else { return Err("oscore-unsealed") };
        let context = &mut self.contexts[place];
        if message.code == Code::EMPTY {
            out.extend_from_slice(plain);
            if message.kind == Type::Acknowledgement {
                context.recent.answered(message.message_id, out);
            }
            return Ok(());
        }
        // Sent again: the same bytes, or a notification would be newer than it is.
        if let Some(before) = context.in_flight.as_ref().filter(|before| *before.plain == *plain) {
            out.extend_from_slice(&before.sealed);
            return Ok(());
        }
        let Context { keys, bindings, sequence, .. } = &mut *context;
        let ledger = self.shared.ledger.as_deref();
        Sealing { keys, bindings, sequence, ledger }.seal((Transport::Datagram, &message), out)?;
        match message.kind {
            Type::Acknowledgement => context.recent.answered(message.message_id, out),
            Type::Confirmable => {
                context.in_flight = Some(InFlight { plain: plain.into(), sealed: out.as_slice().into() })
            }
            _ => {}
        }
        Ok(())
    }
}

/// What answers of a context are sealed with.
pub(crate) struct Sealing<'s> {
    pub(crate) keys: &'s Keys,
    pub(crate) bindings: &'s mut Bindings,
    pub(crate) sequence: &'s mut Sequence,
    pub(crate) ledger: Option<&'s dyn Ledger>,
}

impl Sealing<'_> {
    /// Writes an answer, sealed.
    pub(crate) fn seal(
        self,
        (transport, message): (Transport, &Message<'_>),
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let Sealing { keys, bindings, sequence, ledger } = self;
        let observes = message.option(OptionNumber::OBSERVE).is_some();
        let binding = bindings.get(message.token).ok_or("oscore-unbound")?;
        // Section 8.3, step 3: a number of ours for each notification, and where the nonce
        // of the request has been used; also for errors that end an observation.
        let (is_used, is_fetch) = (std::mem::replace(&mut binding.is_used, true), binding.is_fetch);
        let request_piv = binding.piv.clone();
        let piv = match observes || is_used {
            false => None,
            true => {
                let number = sequence.next(&keys.fingerprint(), ledger.ok_or("oscore-sequence")?);
                Some(piv_of(number.ok_or("oscore-sequence")?))
            }
        };
        let nonce = match &piv {
            Some(piv) => nonce(&keys.common_iv, &keys.sender_id, piv),
            None => nonce(&keys.common_iv, &keys.recipient_id, &request_piv),
        };
        let aad = additional(ALGORITHM, &keys.recipient_id, &request_piv);
        write((transport, message), (keys, &nonce, &aad), (piv.as_deref(), observes, is_fetch), out)?;
        if !observes {
            bindings.remove(message.token);
        }
        Ok(())
    }
}

fn write(
    (transport, message): (Transport, &Message<'_>),
    (keys, nonce, aad): (&Keys, &[u8; crate::cose::NONCE], &[u8]),
    (piv, observes, is_fetch): (Option<&[u8]>, bool, bool),
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let (mut inner, mut outer, none) = (OptionList::new(), OptionList::new(), OptionList::new());
    for option in message.options() {
        match option.number {
            // Section 4.1.3.5.2: the order of notifications is that of their numbers.
            OptionNumber::OBSERVE => {
                inner.push(option.number, b"");
                outer.push(option.number, option.value);
            }
            number => drop(inner.push(number, option.value)),
        }
    }
    outer.push(OptionNumber::OSCORE, &CoseOption::encode_response(piv));
    // Section 4.2: of a message that a proxy may see only its class is true.
    let code = if is_fetch && observes { Code::CONTENT } else { Code::CHANGED };
    let Message { kind, message_id, token, .. } = *message;
    let mut sealed = Vec::with_capacity(message.payload.len() + 64);
    // Code, options and payload stand as in a message over WebSocket, behind its first byte.
    let head = (Transport::WebSocket, message.code, Token::default());
    encode_frame(&mut sealed, head, [&inner, &none], message.payload);
    if !keys.seal((nonce, aad), &mut sealed, 1) {
        return Err("oscore-unsealed");
    }
    put(out, (transport, Head { kind, code, message_id, token }), [&outer, &none], &sealed[1..]);
    Ok(())
}
