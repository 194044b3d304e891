//! Security contexts over streams (RFC 8613 on RFC 8323). A connection may come to any worker, so
//! what is known of a context is shared, behind a lock that only its own peer's messages take. A
//! stream delivers once: nothing is kept to be sent again. The name of a context's peer is that of
//! its connection with the context's place there in the flow label.

use crate::binding::Bindings;
use crate::contexts::MARK;
use crate::cose::{Piv, number_of};
use crate::open::{
    REPLAYED, UNDECRYPTED, UNKNOWN, UNREADABLE, decrypted, echoes, join, put_challenge, put_refusal, request_of, said,
};
use crate::seal::Sealing;
use crate::sequence::Sequence;
use crate::{Keys, Shared, Standing, Terms, Window};
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{SocketAddr, SocketAddrV6};
use std::sync::Arc;
use tidegate_coap::{Code, Message, OptionNumber, Transport};

/// What became of a frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StreamOpened {
    /// It is not protected.
    Plain,
    /// A request, plain in `out`, of the peer of that name, who is known as that user.
    Request(SocketAddr, Arc<str>),
    /// What stands in `out` is to be sent back.
    Answer(&'static str),
    /// It is passed over.
    Dropped(&'static str),
}

/// What all workers know of a context.
#[derive(Debug)]
pub(crate) struct StreamState {
    window: Window,
    sequence: Sequence,
    /// By the names of its peer, one for each connection.
    bindings: HashMap<SocketAddr, Bindings, RandomState>,
}

impl StreamState {
    pub(crate) fn new(replay_window: u8, is_new: bool) -> Self {
        let window = Window::new(replay_window, is_new);
        StreamState { window, sequence: Sequence::default(), bindings: HashMap::default() }
    }
}

#[derive(Debug)]
struct StreamContext {
    user: Arc<str>,
    keys: Arc<Keys>,
    state: Arc<Mutex<StreamState>>,
}

/// The contexts of one listener's streams on one worker.
#[derive(Debug)]
pub struct StreamContexts {
    shared: Arc<Shared>,
    contexts: Vec<Arc<StreamContext>>,
    by_kid: HashMap<Box<[u8]>, Vec<usize>, RandomState>,
    /// Of each connection that has sent a protected request the contexts that were used.
    used: HashMap<SocketAddr, Vec<Arc<StreamContext>>, RandomState>,
    max_options: usize,
}

/// The name of the peer of the context at `place` among those of a connection.
fn name(connection: SocketAddr, place: usize) -> SocketAddr {
    match connection {
        SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), MARK | place as u32, v6.scope_id()).into(),
        // Connections have names of their own, which are addresses of IPv6.
        v4 @ SocketAddr::V4(_) => v4,
    }
}

impl StreamContexts {
    /// The connection of a name.
    pub fn connection_of(name: SocketAddr) -> SocketAddr {
        match name {
            SocketAddr::V6(v6) => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
            v4 @ SocketAddr::V4(_) => v4,
        }
    }

    /// The contexts of a listener.
    pub fn new(terms: &Terms, shared: Arc<Shared>, max_options: usize) -> Self {
        let mut own = StreamContexts {
            shared,
            contexts: Vec::new(),
            by_kid: HashMap::default(),
            used: HashMap::default(),
            max_options,
        };
        own.adopt(terms);
        own
    }

    /// Takes other contexts. The names of the peers of those that are gone.
    pub fn adopt(&mut self, terms: &Terms) -> Vec<SocketAddr> {
        let context = |(plan, keys): &(crate::ContextPlan, Arc<Keys>)| {
            let state = self.shared.stream_state(keys, plan.replay_window);
            Arc::new(StreamContext { user: plan.name.as_str().into(), keys: Arc::clone(keys), state })
        };
        self.contexts = terms.contexts.iter().map(context).collect();
        self.by_kid.clear();
        for (place, context) in self.contexts.iter().enumerate() {
            self.by_kid.entry(context.keys.recipient_id.clone()).or_default().push(place);
        }
        let is_there = |own: &Keys| self.contexts.iter().any(|context| context.keys.identity() == own.identity());
        let names = self.used.iter().flat_map(|(connection, used)| {
            let gone = |(_, context): &(usize, &Arc<StreamContext>)| !is_there(&context.keys);
            used.iter().enumerate().filter(gone).map(|(place, _)| name(*connection, place))
        });
        names.collect()
    }

    /// Opens a frame of a connection; what becomes of it stands in `out`.
    pub fn open(
        &mut self,
        (connection, transport): (SocketAddr, Transport),
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> StreamOpened {
        out.clear();
        let Ok(message) = Message::decode_as(transport, frame, self.max_options) else { return StreamOpened::Plain };
        let Some(option) = message.option(OptionNumber::OSCORE) else { return StreamOpened::Plain };
        match message.code.class() {
            // Signals are between the ends of the connection: the option is unknown to them.
            7 => return StreamOpened::Plain,
            _ if !message.code.is_request() => return StreamOpened::Dropped("oscore-malformed"),
            _ => {}
        }
        let outer = (transport, &message);
        let Some((cose, kid)) = said(&message, option.value) else {
            return StreamOpened::Answer(put_refusal(outer, UNREADABLE, out));
        };
        let Some(context) = self.find(kid, cose.kid_context) else {
            return StreamOpened::Answer(put_refusal(outer, UNKNOWN, out));
        };
        let name = self.named(connection, &context);
        context.open((name, cose.piv), outer, (&self.shared, self.max_options), out)
    }

    fn find(&self, kid: &[u8], kid_context: Option<&[u8]>) -> Option<Arc<StreamContext>> {
        let places = self.by_kid.get(kid)?;
        let fits = |place: &&usize| {
            let own = self.contexts[**place].keys.id_context.as_deref();
            kid_context.is_none_or(|wanted| own == Some(wanted))
        };
        places.iter().find(fits).map(|place| Arc::clone(&self.contexts[*place]))
    }

    fn named(&mut self, connection: SocketAddr, context: &Arc<StreamContext>) -> SocketAddr {
        let used = self.used.entry(connection).or_default();
        let same = |own: &Arc<StreamContext>| Arc::ptr_eq(&own.state, &context.state);
        let place = used.iter().position(same).unwrap_or_else(|| {
            used.push(Arc::clone(context));
            used.len() - 1
        });
        name(connection, place)
    }

    /// The names that peers have on a connection.
    pub fn names_on(&self, connection: SocketAddr) -> impl Iterator<Item = SocketAddr> {
        let count = self.used.get(&connection).map_or(0, Vec::len);
        (0..count).map(move |place| name(connection, place))
    }

    /// A connection is gone: the names that its peers had.
    pub fn close(&mut self, connection: SocketAddr) -> Vec<SocketAddr> {
        let names: Vec<SocketAddr> = self.names_on(connection).collect();
        for (context, name) in self.used.remove(&connection).unwrap_or_default().iter().zip(&names) {
            context.state.lock().bindings.remove(name);
        }
        names
    }

    /// Seals a frame to a name; the connection that it is for.
    ///
    /// # Errors
    /// Why it cannot be, as the reason of a drop.
    pub fn seal(
        &self,
        (to, transport): (SocketAddr, Transport),
        frame: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<SocketAddr, &'static str> {
        out.clear();
        let connection = Self::connection_of(to);
        let place = match to {
            SocketAddr::V6(v6) => (v6.flowinfo() & !MARK) as usize,
            SocketAddr::V4(_) => return Err("oscore-gone"),
        };
        let context = self.used.get(&connection).and_then(|used| used.get(place)).ok_or("oscore-gone")?;
        let message = Message::decode_as(transport, frame, usize::MAX - 1).map_err(|_| "oscore-unsealed")?;
        let mut state = context.state.lock();
        context.seal(&mut state, (to, &self.shared), (transport, &message), out).map(|()| connection)
    }
}

impl StreamContext {
    fn open(
        &self,
        (name, piv): (SocketAddr, &[u8]),
        outer: (Transport, &Message<'_>),
        (shared, max_options): (&Shared, usize),
        out: &mut Vec<u8>,
    ) -> StreamOpened {
        let (number, message) = (number_of(piv), outer.1);
        let mut state = self.state.lock();
        let standing = state.window.standing(number);
        if standing == Standing::Replayed {
            return StreamOpened::Answer(put_refusal(outer, REPLAYED, out));
        }
        let Some(inner) = decrypted(&self.keys, message, piv) else {
            return StreamOpened::Answer(put_refusal(outer, UNDECRYPTED, out));
        };
        let Some(inner) = request_of(&inner, max_options) else {
            return StreamOpened::Answer(put_refusal(outer, UNREADABLE, out));
        };
        let ledger = shared.ledger.as_deref();
        if !ledger.is_some_and(|ledger| state.sequence.begin(&self.keys.fingerprint(), ledger)) {
            return StreamOpened::Dropped("oscore-sequence");
        }
        let bindings = state.bindings.entry(name).or_default();
        bindings.enter(message.token, (Piv::from_slice(piv), message.code == Code::FETCH));
        if standing == Standing::Unknown && !echoes(&inner, &shared.echo) {
            return self.challenge(&mut state, (name, shared), outer, out);
        }
        state.window.mark(number);
        join(outer, &inner, out);
        StreamOpened::Request(name, Arc::clone(&self.user))
    }

    /// Appendix B.1.2: the request may be an old one; who sent it says what we send now.
    fn challenge(
        &self,
        state: &mut StreamState,
        (name, shared): (SocketAddr, &Shared),
        (transport, message): (Transport, &Message<'_>),
        out: &mut Vec<u8>,
    ) -> StreamOpened {
        // The nonce of a request that may have been answered before is not used again.
        if let Some(binding) = state.bindings.get_mut(&name).and_then(|own| own.get(message.token)) {
            binding.is_used = true;
        }
        let mut plain = Vec::new();
        put_challenge((transport, message), &shared.echo, &mut plain);
        let Ok(plain) = Message::decode_as(transport, &plain, usize::MAX - 1) else {
            return StreamOpened::Dropped("oscore-unsealed");
        };
        match self.seal(state, (name, shared), (transport, &plain), out) {
            Ok(()) => StreamOpened::Answer("oscore-unsynchronized"),
            Err(reason) => StreamOpened::Dropped(reason),
        }
    }

    fn seal(
        &self,
        state: &mut StreamState,
        (name, shared): (SocketAddr, &Shared),
        message: (Transport, &Message<'_>),
        out: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        let StreamState { sequence, bindings, .. } = state;
        let bindings = bindings.get_mut(&name).ok_or("oscore-unbound")?;
        Sealing { keys: &self.keys, bindings, sequence, ledger: shared.ledger.as_deref() }.seal(message, out)
    }
}
