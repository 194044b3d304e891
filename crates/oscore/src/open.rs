//! Requests as they come in (RFC 8613 section 8.2): whose they are, whether they are new
//! and authentic, and the plain message that they hold.

use crate::context::{Context, Peer};
use crate::contexts::name;
use crate::cose::{NONCE, Piv, additional, nonce, number_of};
use crate::keys::ALGORITHM;
use crate::{Contexts, CoseOption, Keys, Opened, Standing};
use std::net::SocketAddr;
use tidegate_coap::{Code, Head, Message, OptionList, OptionNumber, Transport, Type, encode, encode_frame};

/// Outer options that hold for the request (section 4.1, class U).
const OUTER: [u16; 5] = [
    OptionNumber::URI_HOST,
    OptionNumber::URI_PORT,
    OptionNumber::HOP_LIMIT,
    OptionNumber::PROXY_URI,
    OptionNumber::PROXY_SCHEME,
];

impl Contexts {
    /// Opens a datagram; what becomes of it stands in `out`.
    pub fn open(&mut self, from: SocketAddr, datagram: &[u8], out: &mut Vec<u8>) -> Opened {
        out.clear();
        let Ok(message) = Message::decode(datagram, self.max_options) else { return Opened::Plain };
        let Some(option) = message.option(OptionNumber::OSCORE) else { return Opened::Plain };
        let kind = message.kind;
        if !message.code.is_request() || !matches!(kind, Type::Confirmable | Type::NonConfirmable) {
            return Opened::Dropped("oscore-malformed");
        }
        let Some((cose, kid)) = said(&message, option.value) else {
            return refuse(&message, UNREADABLE, out);
        };
        let Some(place) = self.find(kid, cose.kid_context) else {
            return refuse(&message, UNKNOWN, out);
        };
        let owner = self.contexts[place].owner.claim(self.worker);
        if owner != self.worker {
            return Opened::Strayed(owner);
        }
        self.open_in(place, (from, &message, cose.piv), out)
    }

    /// Section 8.2, step 2: by the id, and where it is said by the id's context.
    fn find(&self, kid: &[u8], kid_context: Option<&[u8]>) -> Option<usize> {
        let places = self.by_kid.get(kid)?;
        let fits = |place: &&usize| {
            let own = self.contexts[**place].keys.id_context.as_deref();
            kid_context.is_none_or(|wanted| own == Some(wanted))
        };
        places.iter().find(fits).copied()
    }

    fn open_in(
        &mut self,
        place: usize,
        (from, message, piv): (SocketAddr, &Message<'_>, &[u8]),
        out: &mut Vec<u8>,
    ) -> Opened {
        let (number, context) = (number_of(piv), &self.contexts[place]);
        let standing = context.window.standing(number);
        if standing == Standing::Replayed {
            return match context.recent.find(number, message.message_id, from) {
                Some(Some(answer)) => {
                    out.extend_from_slice(answer);
                    Opened::Answer("oscore-repeated")
                }
                Some(None) => Opened::Dropped("oscore-repeated"),
                None => refuse(message, REPLAYED, out),
            };
        }
        let Some(inner) = decrypted(&context.keys, message, piv) else {
            return refuse(message, UNDECRYPTED, out);
        };
        let Some(inner) = request_of(&inner, self.max_options) else {
            return refuse(message, UNREADABLE, out);
        };
        let context = &mut self.contexts[place];
        let is_kept = |ledger| context.sequence.begin(&context.keys.fingerprint(), ledger);
        if !self.shared.ledger.as_deref().is_some_and(is_kept) {
            return Opened::Dropped("oscore-sequence");
        }
        self.contexts[place].bindings.enter(message.token, (Piv::from_slice(piv), message.code == Code::FETCH));
        if standing == Standing::Unknown && !echoes(&inner, &self.shared.echo) {
            return self.challenge(place, message, out);
        }
        self.accept(place, (number, from, message.message_id));
        join((Transport::Datagram, message), &inner, out);
        self.named(place, from)
    }

    /// Appendix B.1.2: the request may be an old one; who sent it says what we send now.
    fn challenge(&mut self, place: usize, message: &Message<'_>, out: &mut Vec<u8>) -> Opened {
        let mut plain = Vec::new();
        put_challenge((Transport::Datagram, message), &self.shared.echo, &mut plain);
        // The nonce of a request that may have been answered before is not used again.
        if let Some(binding) = self.contexts[place].bindings.get(message.token) {
            binding.is_used = true;
        }
        match self.seal_in(place, &plain, out) {
            Ok(()) => Opened::Answer("oscore-unsynchronized"),
            Err(reason) => Opened::Dropped(reason),
        }
    }

    /// The request is new and authentic; where it is the newest, its source is the peer's address.
    fn accept(&mut self, place: usize, (number, from, message_id): (u64, SocketAddr, u16)) {
        let context = &mut self.contexts[place];
        let is_newest = context.window.is_newest(number);
        context.window.mark(number);
        context.recent.enter(number, message_id, from);
        if let Some(peer) = context.peer.as_mut().filter(|peer| is_newest && peer.address != from) {
            let before = std::mem::replace(&mut peer.address, from);
            let is_left = !self.contexts.iter().filter_map(|own| own.peer).any(|peer| peer.address == before);
            self.shared.moved((is_left.then_some(before), Some(from)), self.worker);
        }
    }

    fn named(&mut self, place: usize, from: SocketAddr) -> Opened {
        let Context { peer, user, .. } = &mut self.contexts[place];
        if let Some(peer) = peer {
            return Opened::Request(peer.name);
        }
        self.named = self.named.wrapping_add(1);
        let name = name(from, self.named << 8 | u32::from(self.worker));
        *peer = Some(Peer { name, address: from });
        self.by_name.insert(name, place);
        self.shared.moved((None, Some(from)), self.worker);
        Opened::First(name, user.clone())
    }
}

/// What the option of a request says, and who sent it. `None`: it says too little.
pub(crate) fn said<'o>(message: &Message<'_>, option: &'o [u8]) -> Option<(CoseOption<'o>, &'o [u8])> {
    let cose = CoseOption::decode(option).filter(|own| !own.piv.is_empty() && !message.payload.is_empty())?;
    Some((cose, cose.kid?))
}

/// The plaintext of a request behind a byte, as a message over WebSocket has it. `None`: it is not
/// authentic.
pub(crate) fn decrypted(keys: &Keys, message: &Message<'_>, piv: &[u8]) -> Option<Vec<u8>> {
    let aad = additional(ALGORITHM, &keys.recipient_id, piv);
    let nonce: [u8; NONCE] = nonce(&keys.common_iv, &keys.recipient_id, piv);
    let mut inner = Vec::with_capacity(message.payload.len());
    inner.push(0);
    keys.open((&nonce, &aad), message.payload, &mut inner).then_some(inner)
}

/// The request that was inside. `None`: there is none.
pub(crate) fn request_of(plain: &[u8], max_options: usize) -> Option<Message<'_>> {
    let inner = Message::decode_as(Transport::WebSocket, plain, max_options).ok()?;
    inner.code.is_request().then_some(inner)
}

pub(crate) fn echoes(inner: &Message<'_>, echo: &[u8]) -> bool {
    inner.option(OptionNumber::ECHO).is_some_and(|option| option.value == echo)
}

/// Writes the message that is meant, as `transport` carries it: what the outer one says to whom, the
/// rest from inside.
pub(crate) fn join((transport, outer): (Transport, &Message<'_>), inner: &Message<'_>, out: &mut Vec<u8>) {
    let (mut own, mut added) = (OptionList::new(), OptionList::new());
    let observes = outer.observe().is_some();
    // Section 4.1.3.5.1: what only the inner message says is no registration.
    for option in inner.options().filter(|option| option.number != OptionNumber::OBSERVE || observes) {
        own.push(option.number, option.value);
    }
    for option in outer.options().filter(|option| OUTER.contains(&option.number)) {
        if inner.option(option.number).is_none() {
            added.push(option.number, option.value);
        }
    }
    let Message { kind, message_id, token, .. } = *outer;
    put(out, (transport, Head { kind, code: inner.code, message_id, token }), [&own, &added], inner.payload);
}

/// Writes a message as a transport carries it.
pub(crate) fn put(out: &mut Vec<u8>, (transport, head): (Transport, Head), options: [&OptionList; 2], payload: &[u8]) {
    match transport {
        Transport::Datagram => encode(out, &head, options, payload),
        Transport::Tcp | Transport::WebSocket => {
            encode_frame(out, (transport, head.code, head.token), options, payload)
        }
    }
}

/// The head of what answers a message at once.
fn answer_to(message: &Message<'_>, code: Code) -> Head {
    let is_confirmable = message.kind == Type::Confirmable;
    let kind = if is_confirmable { Type::Acknowledgement } else { Type::NonConfirmable };
    // What answers no confirmable message needs an id of its own; it is sent once.
    let message_id = if is_confirmable { message.message_id } else { message.message_id ^ 0x8000 };
    Head { kind, code, message_id, token: message.token }
}

/// Section 8.2: an error that is not protected, and not to be kept, with its name for metrics.
pub(crate) type Refused = (Code, &'static str, &'static str);
pub(crate) const UNREADABLE: Refused = (Code::BAD_OPTION, "Failed to decode COSE", "oscore-malformed");
pub(crate) const UNKNOWN: Refused = (Code::UNAUTHORIZED, "Security context not found", "oscore-unknown");
pub(crate) const REPLAYED: Refused = (Code::UNAUTHORIZED, "Replay detected", "oscore-replayed");
pub(crate) const UNDECRYPTED: Refused = (Code::BAD_REQUEST, "Decryption failed", "oscore-forged");

fn refuse(message: &Message<'_>, refused: Refused, out: &mut Vec<u8>) -> Opened {
    Opened::Answer(put_refusal((Transport::Datagram, message), refused, out))
}

/// Writes the refusal of a message; its name.
pub(crate) fn put_refusal(
    (transport, message): (Transport, &Message<'_>),
    (code, text, name): Refused,
    out: &mut Vec<u8>,
) -> &'static str {
    let mut options = OptionList::new();
    options.push_uint(OptionNumber::MAX_AGE, 0);
    put(out, (transport, answer_to(message, code)), [&options, &OptionList::new()], text.as_bytes());
    name
}

/// Writes what a peer is asked that may be sending again what is old, as plain text: an Echo.
pub(crate) fn put_challenge((transport, message): (Transport, &Message<'_>), echo: &[u8], out: &mut Vec<u8>) {
    let mut options = OptionList::new();
    options.push(OptionNumber::ECHO, echo);
    put(out, (transport, answer_to(message, Code::UNAUTHORIZED)), [&options, &OptionList::new()], b"");
}
