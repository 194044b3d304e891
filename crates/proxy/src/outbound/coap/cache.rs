//! Answers that an endpoint says may be used again (RFC 7252 section 5.6): fresh for
//! their Max-Age, then asked about by their ETag. One that says no Max-Age is never
//! taken for fresh, though the RFC would allow it a minute: whoever sets none knows none.

use super::to_coap::Outgoing;
use foldhash::fast::RandomState;
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use tidegate_coap::{Answer, Code, OptionList, OptionNumber};

/// Bytes of all answers of a worker.
const BYTES_MAX: usize = 4 << 20;
/// Slots of [`Changes`].
const SLOTS: usize = 4_096;

/// An upstream and a request, as a keyed hash of both.
pub(super) type Key = u128;

/// What is found.
pub(super) enum Cached {
    Fresh(Rc<Answer>),
    Stale(Rc<Answer>),
}

struct Entry {
    key: Key,
    /// When it was asked for.
    asked_at: u64,
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

/// When resources were changed by requests that any worker has passed on (section 5.9.1): what
/// was asked for before is not fresh any more. Many share a slot, whose last change counts.
pub(crate) struct Changes(Box<[AtomicU64]>);

impl Default for Changes {
    fn default() -> Self {
        Changes((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Changes {
    /// Answers that were asked for before that time are stale; 0: none is.
    pub(super) fn of(&self, upstream: &str, options: &OptionList) -> u64 {
        self.slot(upstream, options, false).load(Ordering::Acquire)
    }

    /// Takes the answer to a request that may have changed something: the resource that it
    /// named, and the one that was created (section 5.10.7).
    pub(super) fn note(&self, now_ms: u64, (upstream, request): (&str, &Outgoing), answer: &Answer) {
        if !matches!(answer.code, Code::CREATED | Code::DELETED | Code::CHANGED) {
            return;
        }
        self.slot(upstream, &request.options, false).fetch_max(now_ms + 1, Ordering::AcqRel);
        if answer.options.contains(OptionNumber::LOCATION_PATH) {
            self.slot(upstream, &answer.options, true).fetch_max(now_ms + 1, Ordering::AcqRel);
        }
    }

    /// `located`: it is named by Location-Path and Location-Query.
    fn slot(&self, upstream: &str, options: &OptionList, located: bool) -> &AtomicU64 {
        static SECRET: OnceLock<RandomState> = OnceLock::new();
        let mut hasher = SECRET.get_or_init(Default::default).build_hasher();
        hasher.write(upstream.as_bytes());
        hasher.write_u8(0xff);
        let (path, query) = match located {
            true => (OptionNumber::LOCATION_PATH, OptionNumber::LOCATION_QUERY),
            false => (OptionNumber::URI_PATH, OptionNumber::URI_QUERY),
        };
        for (number, value) in options.iter().filter(|(number, _)| *number == path || *number == query) {
            hasher.write_u8(u8::from(number == path));
            hasher.write_usize(value.len());
            hasher.write(value);
        }
        &self.0[hasher.finish() as usize % SLOTS]
    }
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
            !OptionNumber::is_no_cache_key(number)
                && !matches!(number, OptionNumber::HOP_LIMIT | OptionNumber::TRACEPARENT)
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

    /// `changed`: as [`Changes::of`] says.
    pub(super) fn find(&self, now_ms: u64, (key, changed): (Key, u64)) -> Option<Cached> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        if entry.asked_at < changed {
            return Some(Cached::Stale(Rc::clone(&entry.answer)));
        }
        Some(match entry.fresh_until.checked_sub(now_ms) {
            // RFC 7252 section 5.6.1: its time here counts.
            Some(left @ 1..) => Cached::Fresh(aged(&entry.answer, u32::try_from(left / 1_000).ok())),
            _ => Cached::Stale(Rc::clone(&entry.answer)),
        })
    }

    /// Keeps an answer where it may be; 2.03 makes the stale one fresh again, which is
    /// then the answer. The times: now, and when it was asked for.
    pub(super) fn keep(
        &mut self,
        (now_ms, asked_at): (u64, u64),
        key: Option<Key>,
        (answer, stale): (Answer, Option<Rc<Answer>>),
    ) -> Rc<Answer> {
        let max_age = answer.options.uint(OptionNumber::MAX_AGE);
        let answer = match (answer.code, stale) {
            (Code::VALID, Some(stale)) => renewed(&stale, &answer),
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
        self.entries.push_back(Entry { key, asked_at, fresh_until, answer: Rc::clone(&answer) });
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

/// The answer that is still valid, with what is said of it now (section 5.9.1.3); without
/// Max-Age it has none.
fn renewed(stale: &Answer, valid: &Answer) -> Rc<Answer> {
    let mut answer = stale.clone();
    answer.options.remove(OptionNumber::MAX_AGE);
    for (number, _) in valid.options.iter() {
        answer.options.remove(number);
    }
    for (number, value) in valid.options.iter() {
        answer.options.push(number, value);
    }
    Rc::new(answer)
}

/// The answer with the time that it is still fresh.
fn aged(answer: &Answer, max_age: Option<u32>) -> Rc<Answer> {
    let mut answer = answer.clone();
    answer.options.remove(OptionNumber::MAX_AGE);
    if let Some(seconds) = max_age {
        answer.options.push_uint(OptionNumber::MAX_AGE, seconds);
    }
    Rc::new(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        cache.keep((0, 0), Some(1), (answer(Code::CONTENT, Some(10), Some(b"t")), None));
        let Some(Cached::Fresh(fresh)) = cache.find(6_001, (1, 0)) else { unreachable!("it is fresh") };
        assert_eq!(fresh.options.uint(OptionNumber::MAX_AGE), Some(3), "its age counts");
        assert!(matches!(cache.find(9_999, (1, 0)), Some(Cached::Fresh(_))));
        let stale = match cache.find(10_000, (1, 0)) {
            Some(Cached::Stale(stale)) => Some(stale),
            _ => None,
        };
        assert!(stale.is_some());
        let renewed = cache.keep((10_000, 10_000), Some(1), (answer(Code::VALID, Some(5), Some(b"t")), stale));
        assert_eq!((renewed.code, renewed.options.uint(OptionNumber::MAX_AGE)), (Code::CONTENT, Some(5)));
        assert!(matches!(cache.find(14_999, (1, 0)), Some(Cached::Fresh(_))));
        assert!(matches!(cache.find(15_000, (1, 0)), Some(Cached::Stale(_))));
    }

    #[test]
    fn what_says_no_age_is_not_fresh_and_what_says_nothing_is_not_kept() {
        let mut cache = cache();
        cache.keep((0, 0), Some(1), (answer(Code::CONTENT, None, Some(b"t")), None));
        assert!(matches!(cache.find(0, (1, 0)), Some(Cached::Stale(_))));
        cache.keep((0, 0), Some(2), (answer(Code::CONTENT, None, None), None));
        cache.keep((0, 0), Some(3), (answer(Code::NOT_FOUND, Some(10), None), None));
        cache.keep((0, 0), Some(4), (answer(Code::CONTENT, Some(0), None), None));
        assert_eq!(cache.entries.len(), 1);
    }

    // RFC7252-5.9.1-1 RFC7252-5.9.1-2 RFC7252-5.9.1-5 RFC7252-5.10.7-1
    #[test]
    fn what_was_asked_for_before_a_change_is_stale_and_what_came_of_it_too() {
        let changes = Changes::default();
        let request = |path: &[u8]| {
            let mut options = OptionList::new();
            options.push(OptionNumber::URI_PATH, path);
            Outgoing { method: Code::POST, options, ..super::super::links_of() }
        };
        let of = |path: &[u8]| changes.of("u", &request(path).options);
        changes.note(10, ("u", &request(b"a")), &answer(Code::NOT_FOUND, None, None));
        assert_eq!(of(b"a"), 0);
        let mut created = answer(Code::CREATED, None, None);
        created.options.push(OptionNumber::LOCATION_PATH, b"b");
        changes.note(10, ("u", &request(b"a")), &created);
        assert_eq!((of(b"a"), of(b"b"), changes.of("v", &request(b"a").options)), (11, 11, 0));
        let mut cache = cache();
        cache.keep((10, 10), Some(1), (answer(Code::CONTENT, Some(60), None), None));
        assert!(matches!(cache.find(10, (1, of(b"a"))), Some(Cached::Stale(_))));
        cache.keep((11, 11), Some(1), (answer(Code::CONTENT, Some(60), None), None));
        assert!(matches!(cache.find(11, (1, of(b"a"))), Some(Cached::Fresh(_))));
    }

    // RFC7252-5.9.1-4
    #[test]
    fn what_is_said_of_a_valid_answer_takes_the_place_of_what_was_said() {
        let mut cache = cache();
        let mut stale = answer(Code::CONTENT, Some(1), Some(b"t"));
        stale.options.push_uint(OptionNumber::CONTENT_FORMAT, 50).push(2_048, b"old");
        let mut valid = answer(Code::VALID, Some(9), Some(b"t"));
        valid.options.push(2_048, b"new");
        let renewed = cache.keep((5_000, 5_000), Some(1), (valid, Some(Rc::new(stale))));
        let all: Vec<_> = renewed.options.iter().collect();
        assert_eq!(all, [(4, &b"t"[..]), (12, &[50][..]), (14, &[9][..]), (2_048, &b"new"[..])]);
    }

    #[test]
    fn is_bounded_and_the_oldest_goes() {
        let mut cache = cache();
        for key in 0..5 {
            cache.keep((0, 0), Some(key), (answer(Code::CONTENT, Some(10), None), None));
        }
        assert!(cache.find(0, (2, 0)).is_none() && cache.find(0, (3, 0)).is_some() && cache.find(0, (4, 0)).is_some());
        cache.limit(0);
        assert_eq!((cache.entries.len(), cache.bytes), (0, 0));
    }
}
