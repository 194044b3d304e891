//! Answers that an endpoint says may be used again (RFC 7252 section 5.6): fresh for
//! their Max-Age, then asked about by their ETag. One that says no Max-Age is never
//! taken for fresh, though the RFC would allow it a minute: whoever sets none knows none.

use super::to_coap::Outgoing;
use foldhash::fast::RandomState;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::OnceLock;
use tidegate_coap::{Answer, Code, OptionNumber};

/// Bytes of all answers of a worker.
const BYTES_MAX: usize = 4 << 20;

/// An upstream and a request, as a keyed hash of both.
pub(super) type Key = u128;

/// What is found.
pub(super) enum Cached {
    Fresh(Rc<Answer>),
    Stale(Rc<Answer>),
}

struct Entry {
    key: Key,
    fresh_until: u64,
    answer: Rc<Answer>,
}

/// The answers of one worker; the oldest go first.
#[derive(Default)]
pub(super) struct Cache {
    entries: VecDeque<Entry>,
    bytes: usize,
    max: usize,
}

/// Of a GET: everything that tells its answer from another (section 5.6).
pub(super) fn key(upstream: &str, request: &Outgoing) -> Option<Key> {
    static SECRETS: OnceLock<[RandomState; 2]> = OnceLock::new();
    // A peer's own validation is between it and the endpoint.
    if request.method != Code::GET || request.options.contains(OptionNumber::ETAG) {
        return None;
    }
    let secrets = SECRETS.get_or_init(Default::default);
    let hash = |secret: &RandomState| {
        let mut hasher = secret.build_hasher();
        hasher.write(upstream.as_bytes());
        hasher.write_u8(0xff);
        // NoCacheKey options (section 5.4.2) do not count, nor does what tells only the way.
        let counts = |number: u16| {
            number & 0x1e != 0x1c && !matches!(number, OptionNumber::HOP_LIMIT | OptionNumber::TRACEPARENT)
        };
        for (number, value) in request.options.iter().filter(|(number, _)| counts(*number)) {
            hasher.write_u16(number);
            hasher.write_usize(value.len());
            hasher.write(value);
        }
        hasher.finish()
    };
    Some(u128::from(hash(&secrets[0])) << 64 | u128::from(hash(&secrets[1])))
}

impl Cache {
    pub(super) fn limit(&mut self, entries: usize) {
        self.max = entries;
        self.shrink();
    }

    pub(super) fn find(&self, now_ms: u64, key: Key) -> Option<Cached> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(match entry.fresh_until.checked_sub(now_ms) {
            // RFC 7252 section 5.6.1: its time here counts.
            Some(left @ 1..) => Cached::Fresh(renewed(&entry.answer, u32::try_from(left / 1_000).ok())),
            _ => Cached::Stale(Rc::clone(&entry.answer)),
        })
    }

    /// Keeps an answer where it may be; 2.03 makes the stale one fresh again, which is
    /// then the answer.
    pub(super) fn keep(
        &mut self,
        now_ms: u64,
        key: Option<Key>,
        (answer, stale): (Answer, Option<Rc<Answer>>),
    ) -> Rc<Answer> {
        let max_age = answer.options.uint(OptionNumber::MAX_AGE);
        let answer = match (answer.code, stale) {
            (Code::VALID, Some(stale)) => renewed(&stale, max_age),
            _ => Rc::new(answer),
        };
        let worth = max_age.is_some_and(|age| age > 0) || answer.options.contains(OptionNumber::ETAG);
        let Some(key) = key.filter(|_| answer.code == Code::CONTENT && worth && self.max > 0) else { return answer };
        if let Some(at) = self.entries.iter().position(|entry| entry.key == key)
            && let Some(before) = self.entries.remove(at)
        {
            self.bytes -= before.answer.body.len();
        }
        self.bytes += answer.body.len();
        let fresh_until = now_ms + u64::from(max_age.unwrap_or(0)) * 1_000;
        self.entries.push_back(Entry { key, fresh_until, answer: Rc::clone(&answer) });
        self.shrink();
        answer
    }

    fn shrink(&mut self) {
        while self.entries.len() > self.max || self.bytes > BYTES_MAX {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.bytes -= oldest.answer.body.len();
        }
    }
}

/// The answer that is still valid, fresh for as long as is said now.
fn renewed(stale: &Answer, max_age: Option<u32>) -> Rc<Answer> {
    let mut answer = Answer { options: tidegate_coap::OptionList::new(), ..stale.clone() };
    for (number, value) in stale.options.iter().filter(|(number, _)| *number != OptionNumber::MAX_AGE) {
        answer.options.push(number, value);
    }
    if let Some(seconds) = max_age {
        answer.options.push_uint(OptionNumber::MAX_AGE, seconds);
    }
    Rc::new(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_coap::OptionList;

    fn answer(code: Code, max_age: Option<u32>, etag: Option<&[u8]>) -> Answer {
        let mut options = OptionList::new();
        if let Some(seconds) = max_age {
            options.push_uint(OptionNumber::MAX_AGE, seconds);
        }
        if let Some(etag) = etag {
            options.push(OptionNumber::ETAG, etag);
        }
        Answer { code, options, body: vec![0; 10], confirmable: false }
    }

    fn cache() -> Cache {
        Cache { max: 2, ..Cache::default() }
    }

    #[test]
    fn an_answer_is_fresh_for_its_max_age_and_then_renewed_by_its_tag() {
        let mut cache = cache();
        cache.keep(0, Some(1), (answer(Code::CONTENT, Some(10), Some(b"t")), None));
        let Some(Cached::Fresh(fresh)) = cache.find(6_001, 1) else { unreachable!("it is fresh") };
        assert_eq!(fresh.options.uint(OptionNumber::MAX_AGE), Some(3), "its age counts");
        assert!(matches!(cache.find(9_999, 1), Some(Cached::Fresh(_))));
        let stale = match cache.find(10_000, 1) {
            Some(Cached::Stale(stale)) => Some(stale),
            _ => None,
        };
        assert!(stale.is_some());
        let renewed = cache.keep(10_000, Some(1), (answer(Code::VALID, Some(5), Some(b"t")), stale));
        assert_eq!((renewed.code, renewed.options.uint(OptionNumber::MAX_AGE)), (Code::CONTENT, Some(5)));
        assert!(matches!(cache.find(14_999, 1), Some(Cached::Fresh(_))));
        assert!(matches!(cache.find(15_000, 1), Some(Cached::Stale(_))));
    }

    #[test]
    fn what_says_no_age_is_not_fresh_and_what_says_nothing_is_not_kept() {
        let mut cache = cache();
        cache.keep(0, Some(1), (answer(Code::CONTENT, None, Some(b"t")), None));
        assert!(matches!(cache.find(0, 1), Some(Cached::Stale(_))));
        cache.keep(0, Some(2), (answer(Code::CONTENT, None, None), None));
        cache.keep(0, Some(3), (answer(Code::NOT_FOUND, Some(10), None), None));
        cache.keep(0, Some(4), (answer(Code::CONTENT, Some(0), None), None));
        assert_eq!(cache.entries.len(), 1);
    }

    #[test]
    fn is_bounded_and_the_oldest_goes() {
        let mut cache = cache();
        for key in 0..5 {
            cache.keep(0, Some(key), (answer(Code::CONTENT, Some(10), None), None));
        }
        assert!(cache.find(0, 2).is_none() && cache.find(0, 3).is_some() && cache.find(0, 4).is_some());
        cache.limit(0);
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
    }
}
