//! One part of the store: answers by address, whose turn it is to go, fetches under way.

use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::Waker;

use crate::{Key, Stored};

/// Answers to one address that differ by `Vary` or by what the gateway made of the request.
const FORMS_MAX: usize = 64;
/// Requests of which it is remembered that their answers are not kept.
const PASSES_MAX: usize = 1_024;
/// What an address costs besides its answers, bytes.
const OVERHEAD: usize = 256;

/// One answer with the name that the queue knows it by.
struct Variant {
    id: u64,
    form: Box<[u8]>,
    stored: Arc<Stored>,
}

/// A fetch under way.
struct Fill {
    key: Key,
    /// The resource was changed meanwhile: what comes is old.
    is_spoiled: bool,
    waiting: Vec<Waker>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Shard {
    answers: HashMap<Box<[u8]>, Vec<Variant>, RandomState>,
    /// The next one to go stands first; one that was used since gets another turn.
    order: VecDeque<(Box<[u8]>, u64)>,
    fills: Vec<Fill>,
    /// Until when, by hash of the key.
    passes: HashMap<u64, u64, RandomState>,
    next_id: u64,
    pub(crate) bytes: usize,
    pub(crate) entries: usize,
    pub(crate) evicted: u64,
}

impl Shard {
    pub(crate) fn find(&self, key: &Key, value: impl Fn(&str) -> Vec<u8>) -> Option<Arc<Stored>> {
        let variants = self.answers.get(&key.uri)?;
        let found = variants.iter().find(|variant| variant.form == key.form && variant.stored.suits(&value))?;
        found.stored.used.store(true, Relaxed);
        Some(Arc::clone(&found.stored))
    }

    /// Takes an answer in, in place of the one for the same requests.
    pub(crate) fn put(&mut self, key: Key, stored: Arc<Stored>) {
        let same = |variant: &Variant| variant.form == key.form && variant.stored.vary == stored.vary;
        self.remove(&key.uri, same);
        if self.answers.get(&key.uri).is_some_and(|variants| variants.len() >= FORMS_MAX) {
            let oldest = self.answers[&key.uri].iter().map(|variant| variant.id).min();
            self.evicted += self.remove(&key.uri, |variant| Some(variant.id) == oldest) as u64;
        }
        self.bytes += weight(&key.uri, &key.form, &stored);
        self.entries += 1;
        self.next_id += 1;
        let Key { uri, form } = key;
        self.order.push_back((uri.clone(), self.next_id));
        self.answers.entry(uri).or_default().push(Variant { id: self.next_id, form, stored });
        // Names whose answers were removed in another way.
        if self.order.len() > 2 * self.entries + 64 {
            let answers = &self.answers;
            self.order.retain(|(uri, id)| answers.get(uri).is_some_and(|all| all.iter().any(|one| one.id == *id)));
        }
    }

    /// Lets go of the first answer that was not used since the last look at it. `false`: all
    /// were, or there is none.
    pub(crate) fn evict(&mut self) -> bool {
        for _ in 0..self.order.len() {
            let Some((uri, id)) = self.order.pop_front() else { return false };
            let Some(variant) = self.answers.get(&uri).and_then(|all| all.iter().find(|one| one.id == id)) else {
                continue;
            };
            if variant.stored.used.swap(false, Relaxed) {
                self.order.push_back((uri, id));
                continue;
            }
            self.evicted += self.remove(&uri, |variant| variant.id == id) as u64;
            return true;
        }
        false
    }

    /// Removes answers to an address; how many.
    fn remove(&mut self, uri: &[u8], which: impl Fn(&Variant) -> bool) -> usize {
        let Some(variants) = self.answers.get_mut(uri) else { return 0 };
        let (before, mut freed) = (variants.len(), 0);
        variants.retain(|variant| {
            let goes = which(variant);
            freed += if goes { weight(uri, &variant.form, &variant.stored) } else { 0 };
            !goes
        });
        let removed = before - variants.len();
        if variants.is_empty() {
            self.answers.remove(uri);
        }
        self.bytes -= freed;
        self.entries -= removed;
        removed
    }

    /// The resource was changed: nothing of it is good any more, nor what is on its way.
    pub(crate) fn invalidate(&mut self, uri: &[u8]) -> usize {
        self.fills.iter_mut().filter(|fill| *fill.key.uri == *uri).for_each(|fill| fill.is_spoiled = true);
        self.remove(uri, |_| true)
    }

    /// Removes what `which` says of address and form; how many.
    pub(crate) fn purge(&mut self, which: impl Fn(&[u8], &[u8]) -> bool) -> usize {
        self.fills.iter_mut().for_each(|fill| fill.is_spoiled |= which(&fill.key.uri, &fill.key.form));
        let uris: Vec<Box<[u8]>> = self.answers.keys().cloned().collect();
        uris.iter().map(|uri| self.remove(uri, |variant| which(uri, &variant.form))).sum()
    }

    /// Begins a fetch. `false`: one is under way.
    pub(crate) fn begin(&mut self, key: &Key) -> bool {
        let is_free = !self.fills.iter().any(|fill| fill.key == *key);
        if is_free {
            self.fills.push(Fill { key: key.clone(), is_spoiled: false, waiting: Vec::new() });
        }
        is_free
    }

    /// Ends a fetch: who waits for it, and whether its answer is still good.
    pub(crate) fn end(&mut self, key: &Key) -> (Vec<Waker>, bool) {
        let Some(at) = self.fills.iter().position(|fill| fill.key == *key) else { return (Vec::new(), false) };
        let fill = self.fills.swap_remove(at);
        (fill.waiting, !fill.is_spoiled)
    }

    /// Waits for a fetch. `false`: it is over.
    pub(crate) fn wait(&mut self, key: &Key, waker: &Waker) -> bool {
        let Some(fill) = self.fills.iter_mut().find(|fill| fill.key == *key) else { return false };
        if !fill.waiting.iter().any(|known| known.will_wake(waker)) {
            fill.waiting.push(waker.clone());
        }
        true
    }

    /// Remembers that the answers to a request are not kept, so that nobody waits for one.
    pub(crate) fn pass(&mut self, hash: u64, (now_ms, until_ms): (u64, u64)) {
        if self.passes.len() >= PASSES_MAX {
            self.passes.retain(|_, until| *until > now_ms);
        }
        if self.passes.len() < PASSES_MAX {
            self.passes.insert(hash, until_ms);
        }
    }

    pub(crate) fn passes(&self, hash: u64, now_ms: u64) -> bool {
        self.passes.get(&hash).is_some_and(|until| *until > now_ms)
    }
}

/// Bytes that an answer costs with its names.
fn weight(uri: &[u8], form: &[u8], stored: &Stored) -> usize {
    stored.weight() + uri.len() * 2 + form.len() + OVERHEAD
}
