//! What ties answers to their requests: an answer is sealed over the id and the number of
//! its request (RFC 8613 section 5.4). Kept until the answer is out, of an observation as
//! long as notifications may come.

use crate::cose::Piv;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use tidegate_coap::Token;

/// Requests of one context that may still be answered.
const BINDINGS_MAX: usize = 512;

#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) piv: Piv,
    /// Its outer code was FETCH, so that of the answer is 2.05.
    pub(crate) is_fetch: bool,
    /// The request's nonce has been used for an answer, and is not used for another.
    pub(crate) is_used: bool,
    /// Goes up with each request.
    at: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Bindings {
    by_token: HashMap<Token, Binding, RandomState>,
    next: u64,
}

impl Bindings {
    /// Enters a request; where there are too many, the oldest that was answered goes.
    pub(crate) fn enter(&mut self, token: Token, (piv, is_fetch): (Piv, bool)) {
        if self.by_token.len() >= BINDINGS_MAX && !self.by_token.contains_key(&token) {
            let oldest = self.by_token.iter().min_by_key(|(_, binding)| (!binding.is_used, binding.at));
            let oldest = oldest.map(|(token, _)| *token);
            oldest.and_then(|token| self.by_token.remove(&token));
        }
        self.next += 1;
        self.by_token.insert(token, Binding { piv, is_fetch, is_used: false, at: self.next });
    }

    pub(crate) fn get(&mut self, token: Token) -> Option<&mut Binding> {
        self.by_token.get_mut(&token)
    }

    pub(crate) fn remove(&mut self, token: Token) {
        self.by_token.remove(&token);
    }
}
