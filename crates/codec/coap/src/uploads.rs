//! Block1: bodies that come in several requests (RFC 7959 section 2.5). Bounded in
//! number, in bytes each and in all, and in time.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::SocketAddr;

use foldhash::fast::RandomState;

use crate::{Block, Code, Message, OptionNumber, OptionRef};

/// Uploads of one worker at a time.
const MAX_UPLOADS: usize = 64;
/// An upload that makes no progress for that long is forgotten.
const IDLE_MS: u64 = 60_000;

/// Unfinished bodies.
#[derive(Debug)]
pub(crate) struct Uploads {
    bodies: HashMap<(SocketAddr, u64), Upload, RandomState>,
    hasher: RandomState,
    max_body: usize,
}

#[derive(Debug)]
struct Upload {
    body: Vec<u8>,
    if_none_match: bool,
    at_ms: u64,
}

/// What a block did.
#[derive(Debug)]
pub(crate) enum Taken {
    /// 2.31: send the next.
    Continue,
    /// It was the last; the whole body, and whether the first block had If-None-Match.
    Whole(Vec<u8>, bool),
    /// Answer with this: 4.00, 4.08, 4.13 or 5.03.
    Refused(Code),
}

impl Uploads {
    pub(crate) fn new(max_body: usize) -> Self {
        Uploads { bodies: HashMap::default(), hasher: RandomState::default(), max_body }
    }

    /// What bodies may have from now on.
    pub(crate) const fn limit(&mut self, max_body: usize) {
        self.max_body = max_body;
    }

    pub(crate) fn take(&mut self, now_ms: u64, (peer, message): (SocketAddr, &Message<'_>), block: Block) -> Taken {
        // All blocks but the last are whole, and that one is not longer; a body may be a single one.
        let is_longer = block.szx != Block::BERT && message.payload.len() > block.size();
        if is_longer || block.more && !block.fits(message.payload.len()) {
            return Taken::Refused(Code::BAD_REQUEST);
        }
        let key = (peer, self.body_key(message));
        if block.num == 0 {
            self.bodies.remove(&key);
            if block.more && !self.make_room(now_ms) {
                return Taken::Refused(Code::SERVICE_UNAVAILABLE);
            }
        }
        let at = self.bodies.get(&key).map_or(0, |upload| upload.body.len());
        if block.more && self.has_taken(&key, (message.payload, block)) {
            return Taken::Continue;
        }
        // What does not follow leaves what is there: the one in between may be late.
        if at != block.offset() {
            return Taken::Refused(Code::REQUEST_ENTITY_INCOMPLETE);
        }
        let if_none_match = message.option(OptionNumber::IF_NONE_MATCH).is_some();
        let fresh = Upload { body: Vec::new(), if_none_match, at_ms: now_ms };
        let before = self.bodies.remove(&key).unwrap_or(fresh);
        self.append(now_ms, (key, before), (message.payload, block.more))
    }

    /// Whether a block is the last one that was taken: its 2.31 was lost, and it comes again in
    /// another message.
    fn has_taken(&self, key: &(SocketAddr, u64), (part, block): (&[u8], Block)) -> bool {
        let offset = block.offset();
        let is_last = |upload: &Upload| upload.body.get(offset..).is_some_and(|last| offset > 0 && last == part);
        self.bodies.get(key).is_some_and(is_last)
    }

    fn append(
        &mut self,
        now_ms: u64,
        (key, mut upload): ((SocketAddr, u64), Upload),
        (part, more): (&[u8], bool),
    ) -> Taken {
        if upload.body.len() + part.len() > self.max_body {
            return Taken::Refused(Code::REQUEST_ENTITY_TOO_LARGE);
        }
        upload.body.extend_from_slice(part);
        if !more {
            return Taken::Whole(upload.body, upload.if_none_match);
        }
        upload.at_ms = now_ms;
        self.bodies.insert(key, upload);
        Taken::Continue
    }

    /// Which body a block belongs to: the same method and the same options (RFC 7959 section 2.5),
    /// the Request-Tag of RFC 9175 among them. Not those of the blocks themselves (the last one may
    /// say which blocks of the answer it wants), what is no cache key (RFC 9175 section 3.3), what
    /// only the first block may have (RFC 7959 section 2.10) and what tells only the way.
    fn body_key(&self, message: &Message<'_>) -> u64 {
        let of_block = [
            OptionNumber::BLOCK1,
            OptionNumber::BLOCK2,
            OptionNumber::IF_NONE_MATCH,
            OptionNumber::OBSERVE,
            OptionNumber::TRACEPARENT,
        ];
        let telling = |number: u16| !of_block.contains(&number) && !OptionNumber::is_no_cache_key(number);
        let options = message.options().filter(|option| telling(option.number));
        let fold = |hash: u64, option: OptionRef<'_>| self.hasher.hash_one((hash, option.number, option.value));
        options.fold(u64::from(message.code.0), fold)
    }

    fn make_room(&mut self, now_ms: u64) -> bool {
        if self.bodies.len() >= MAX_UPLOADS {
            self.bodies.retain(|_, upload| now_ms.saturating_sub(upload.at_ms) < IDLE_MS);
        }
        self.bodies.len() < MAX_UPLOADS
    }
}
