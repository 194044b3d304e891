//! The client's side of Observe (RFC 7641): a registration whose token stays, the order
//! of its notifications, the blocks behind the first of each (section 3.3 of it and RFC
//! 7959 section 2.6). An answer for which [`Answer::observes`] holds has others behind it
//! under the same id; any other, and every failure, is the last.

use crate::requester::{Exchange, Purpose, Requester};
use crate::transfer::Transfer;
use crate::{Answer, Code, Failure, Message, OptionList, OptionNumber, Token, Type};

/// Notifications that are further apart are in the order they come (RFC 7641 section 3.4).
const REORDERED_MS: u64 = 128_000;
/// Half of what 24 bits hold.
const HALF: u32 = 1 << 23;

/// A request: its method, options and body.
pub(crate) type Asked = (Code, OptionList, Vec<u8>);

/// What is observed.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) id: u64,
    request: Asked,
    sequence: u32,
    at_ms: u64,
    confirmable: bool,
    /// The message that asks for the rest of the newest notification.
    rest: Option<Token>,
}

impl Observed {
    fn is_newer(&self, now_ms: u64, sequence: u32) -> bool {
        let ahead = sequence.wrapping_sub(self.sequence) & (2 * HALF - 1);
        (1..HALF).contains(&ahead) || now_ms > self.at_ms + REORDERED_MS
    }
}

impl Requester {
    /// Begins to observe; answers come under `id`. A body has to fit one message.
    pub fn observe(&mut self, now_ms: u64, id: u64, request: (Code, OptionList, Vec<u8>)) {
        let token = self.new_token();
        self.register(now_ms, token, (id, request));
    }

    /// Registers again (RFC 7641 section 3.3.1): whether the endpoint still knows of it.
    pub fn refresh(&mut self, now_ms: u64, id: u64) {
        let Some((token, request)) = self.observed_as(id) else { return };
        if !self.exchanges.contains_key(&token) {
            self.register(now_ms, token, (id, request));
        }
    }

    /// Observes no longer, and says so (RFC 7641 section 3.6).
    pub fn cancel(&mut self, now_ms: u64, id: u64) {
        let observed = self.observed_as(id);
        self.forget(now_ms, id);
        if let Some((token, request)) = observed {
            let mut transfer = Transfer::new(request, self.config.max_body);
            transfer.observe = Some(1);
            self.enqueue(now_ms, token, Exchange::new(id, Purpose::Deregister, transfer));
        }
    }

    fn observed_as(&self, id: u64) -> Option<(Token, Asked)> {
        let (token, observed) = self.observed.iter().find(|(_, observed)| observed.id == id)?;
        Some((*token, observed.request.clone()))
    }

    fn register(&mut self, now_ms: u64, token: Token, (id, request): (u64, Asked)) {
        let mut transfer = Transfer::new(request, self.config.max_body);
        transfer.observe = Some(0);
        self.enqueue(now_ms, token, Exchange::new(id, Purpose::Register, transfer));
    }

    /// A notification that nobody has asked for: its Reset ends it (RFC 7641 section 3.6).
    pub(crate) fn is_unwanted(&self, message: &Message<'_>) -> bool {
        let asked = self.exchanges.get(&message.token).is_some_and(|own| own.purpose != Purpose::Deregister);
        message.observe().is_some() && !asked && !self.observed.contains_key(&message.token)
    }

    /// The response to a registration. `false`: it observes nothing.
    pub(crate) fn registered(&mut self, now_ms: u64, exchange: &Exchange, message: &Message<'_>) -> bool {
        let before = self.observed.remove(&message.token);
        let Some(sequence) = message.observe().filter(|_| message.code.class() == 2) else { return false };
        let rest = before.and_then(|before| before.rest);
        let request = exchange.transfer.request();
        let observed = Observed { id: exchange.id, request, sequence, at_ms: now_ms, confirmable: false, rest };
        self.observed.insert(message.token, observed);
        self.take_notification(now_ms, message);
        true
    }

    /// A response that no request waits for.
    pub(crate) fn notified(&mut self, now_ms: u64, message: &Message<'_>) {
        let Some(observed) = self.observed.get_mut(&message.token) else { return };
        match message.observe().filter(|_| message.code.class() == 2) {
            Some(sequence) if observed.is_newer(now_ms, sequence) => {
                (observed.sequence, observed.at_ms) = (sequence, now_ms);
                self.take_notification(now_ms, message);
            }
            Some(_) => {}
            // RFC 7641 section 3.2: an error, or a success without Observe, is the last.
            None => {
                let Some(observed) = self.observed.remove(&message.token) else { return };
                observed.rest.and_then(|rest| self.take(rest));
                let last = Transfer::new(observed.request, self.config.max_body).handle(message);
                self.done.push_back((observed.id, last.unwrap_or(Err(Failure::Broken))));
            }
        }
    }

    /// The newest state: whole, or the first of its blocks. What is fetched of an older one
    /// is of no use any more.
    fn take_notification(&mut self, now_ms: u64, message: &Message<'_>) {
        let Some(observed) = self.observed.get_mut(&message.token) else { return };
        observed.confirmable = message.kind == Type::Confirmable;
        let (id, before) = (observed.id, observed.rest.take());
        let mut transfer = Transfer::new(observed.request.clone(), self.config.max_body);
        before.and_then(|before| self.take(before));
        match transfer.handle(message) {
            Some(result) => self.whole(id, message.token, result),
            None => {
                let exchange = Exchange::new(id, Purpose::Rest(message.token), transfer);
                let token = self.new_token();
                self.begin_rest(&exchange, token);
                self.enqueue(now_ms, token, exchange);
            }
        }
    }

    /// Remembers which message asks for the rest of a notification.
    pub(crate) fn begin_rest(&mut self, exchange: &Exchange, token: Token) {
        if let Purpose::Rest(of) = exchange.purpose
            && let Some(observed) = self.observed.get_mut(&of)
        {
            observed.rest = Some(token);
        }
    }

    /// A notification is complete, or will never be.
    pub(crate) fn whole(&mut self, id: u64, of: Token, result: Result<Answer, Failure>) {
        let Some(observed) = self.observed.get_mut(&of) else { return };
        observed.rest = None;
        let result = match result {
            Ok(mut answer) if answer.code.class() == 2 => {
                answer.options.push_uint(OptionNumber::OBSERVE, observed.sequence);
                answer.confirmable = observed.confirmable;
                Ok(answer)
            }
            other => {
                self.observed.remove(&of);
                other
            }
        };
        self.done.push_back((id, result));
    }
}
