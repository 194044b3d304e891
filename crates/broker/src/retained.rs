//! The last message of each topic: one store for the whole process, in shards by the
//! first level. Touched only by a retained publish and by whoever starts to listen.

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tidegate_message::Message;

const SHARDS: usize = 16;

/// A retained message with its number: a higher one of the same topic is newer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The message.
    pub message: Arc<Message>,
    /// Its number, from 1.
    pub sequence: u64,
}

/// The store is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetainedFull;

#[derive(Default)]
struct Node {
    kept: Option<Kept>,
    children: HashMap<Box<str>, Node, RandomState>,
}

/// The topics that share a hash of their first level.
#[derive(Default)]
struct Shard {
    root: Node,
    /// Those that expire, by when and number.
    ends: BTreeMap<(u64, u64), Arc<Message>>,
}

impl Shard {
    /// Puts a message in: the one that it replaces.
    fn put(&mut self, kept: Kept) -> Option<Kept> {
        if let Some(at) = kept.message.expires_at {
            self.ends.insert((at, kept.sequence), kept.message.clone());
        }
        let old = self.root.make(kept.message.topic()).kept.replace(kept);
        self.forget_end(old)
    }

    /// Takes a topic's message out.
    fn clear(&mut self, topic: &str) -> Option<Kept> {
        let old = self.root.clear(Some(topic));
        self.forget_end(old)
    }

    fn forget_end(&mut self, gone: Option<Kept>) -> Option<Kept> {
        if let Some((at, kept)) = gone.as_ref().and_then(|kept| Some((kept.message.expires_at?, kept))) {
            self.ends.remove(&(at, kept.sequence));
        }
        gone
    }

    /// The topic of one that has expired.
    fn expired(&self, now: u64) -> Option<Arc<Message>> {
        let ((at, _), message) = self.ends.first_key_value()?;
        (*at <= now).then(|| message.clone())
    }
}

/// Retained messages, bounded in number and bytes.
pub struct Retained {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    sequence: AtomicU64,
    count: AtomicUsize,
    bytes: AtomicUsize,
    max_count: AtomicUsize,
    max_bytes: AtomicUsize,
}

/// What a walk looks for and how much of it.
struct Search<'a> {
    now: u64,
    limit: usize,
    found: &'a mut Vec<Kept>,
    /// Found beyond the limit.
    beyond: usize,
}

impl Retained {
    /// Keeps at most `max_count` messages of `max_bytes` together.
    pub fn new(max_count: usize, max_bytes: usize) -> Self {
        Retained {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
            sequence: AtomicU64::new(0),
            count: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_count: AtomicUsize::new(max_count),
            max_bytes: AtomicUsize::new(max_bytes),
        }
    }

    /// New bounds; what is there already stays.
    pub fn set_bounds(&self, max_count: usize, max_bytes: usize) {
        self.max_count.store(max_count, Ordering::Relaxed);
        self.max_bytes.store(max_bytes, Ordering::Relaxed);
    }

    /// Messages kept.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Bytes they take.
    pub fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn shard(&self, level: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(level) as usize % SHARDS]
    }

    /// Keeps `message` as its topic's last: its number. An empty payload clears instead
    /// (MQTT-3.3.1-6).
    ///
    /// # Errors
    /// The store is full and the topic is not in it.
    pub fn store(&self, message: &Arc<Message>) -> Result<u64, RetainedFull> {
        let topic = message.topic();
        if message.payload().is_empty() {
            self.clear(topic);
            return Ok(self.sequence.fetch_add(1, Ordering::Relaxed) + 1);
        }
        let mut shard = self.shard(first(topic)).lock();
        let old = shard.root.find(topic).and_then(|node| node.kept.as_ref()).map(|kept| kept.message.cost());
        let grown = self.bytes() - old.unwrap_or(0).min(self.bytes()) + message.cost();
        let fits = grown <= self.max_bytes.load(Ordering::Relaxed)
            && (old.is_some() || self.count() < self.max_count.load(Ordering::Relaxed));
        if !fits {
            return Err(RetainedFull);
        }
        // Under the shard's lock, so that numbers of one topic go up in the order of its writes.
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        shard.put(Kept { message: message.clone(), sequence });
        self.bytes.fetch_add(message.cost(), Ordering::Relaxed);
        self.bytes.fetch_sub(old.unwrap_or(0), Ordering::Relaxed);
        self.count.fetch_add(usize::from(old.is_none() && !is_own(topic)), Ordering::Relaxed);
        Ok(sequence)
    }

    /// Puts back a message that was kept on disk, whatever the bounds.
    pub fn restore(&self, message: &Arc<Message>, sequence: u64) {
        let mut shard = self.shard(first(message.topic())).lock();
        let old = shard.put(Kept { message: message.clone(), sequence });
        let freed = old.as_ref().map_or(0, |kept| kept.message.cost());
        self.bytes.fetch_add(message.cost(), Ordering::Relaxed);
        self.bytes.fetch_sub(freed, Ordering::Relaxed);
        self.count.fetch_add(usize::from(old.is_none()), Ordering::Relaxed);
        self.sequence.fetch_max(sequence, Ordering::Relaxed);
    }

    /// Forgets a topic's last message: whether there was one.
    pub fn clear(&self, topic: &str) -> bool {
        self.freed(self.shard(first(topic)).lock().clear(topic))
    }

    fn freed(&self, old: Option<Kept>) -> bool {
        if let Some(Kept { message, .. }) = &old {
            self.count.fetch_sub(usize::from(!is_own(message.topic())), Ordering::Relaxed);
            self.bytes.fetch_sub(message.cost(), Ordering::Relaxed);
        }
        old.is_some()
    }

    /// Forgets messages that have expired, at most `most` of each shard, so that they take no room from others.
    /// A log forgets them with its next checkpoint.
    pub fn sweep(&self, now: u64, most: usize) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            for _ in 0..most {
                let Some(message) = shard.expired(now) else { break };
                self.freed(shard.clear(message.topic()));
            }
        }
    }

    /// The number of a topic's last message.
    pub fn sequence(&self, topic: &str) -> Option<u64> {
        let shard = self.shard(first(topic)).lock();
        shard.root.find(topic)?.kept.as_ref().map(|kept| kept.sequence)
    }

    /// Every message but the gateway's own, in no order.
    pub fn all(&self) -> Vec<Kept> {
        let mut found = Vec::new();
        let mut search = Search { now: 0, limit: usize::MAX, found: &mut found, beyond: 0 };
        self.shards.iter().for_each(|shard| shard.lock().root.all(false, &mut search));
        found.retain(|kept| !is_own(kept.message.topic()));
        found
    }

    /// The last message of one topic.
    pub fn get(&self, topic: &str, now: u64) -> Option<Kept> {
        let shard = self.shard(first(topic)).lock();
        shard.root.find(topic)?.kept.clone().filter(|kept| !kept.message.is_expired(now))
    }

    /// At most `limit` messages whose topics match `filter`, in no order.
    pub fn matching(&self, filter: &str, now: u64, limit: usize) -> Vec<Kept> {
        self.matching_and_more(filter, now, limit).0
    }

    /// The same, and how many match beyond these.
    pub fn matching_and_more(&self, filter: &str, now: u64, limit: usize) -> (Vec<Kept>, usize) {
        let mut found = Vec::new();
        let mut search = Search { now, limit, found: &mut found, beyond: 0 };
        match first(filter) {
            "#" | "+" => self.shards.iter().for_each(|shard| shard.lock().root.search(Some(filter), true, &mut search)),
            level => self.shard(level).lock().root.search(Some(filter), true, &mut search),
        }
        let beyond = search.beyond;
        (found, beyond)
    }
}

/// Whether a topic is the gateway's own: such do not count and are not kept on disk.
pub(crate) fn is_own(topic: &str) -> bool {
    topic.starts_with("$SYS/")
}

fn first(topic: &str) -> &str {
    topic.split('/').next().unwrap_or_default()
}

fn split(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, rest)) => (level, Some(rest)),
        None => (topic, None),
    }
}

impl Node {
    fn find(&self, topic: &str) -> Option<&Node> {
        topic.split('/').try_fold(self, |node, level| node.children.get(level))
    }

    fn make(&mut self, topic: &str) -> &mut Node {
        topic.split('/').fold(self, |node, level| {
            if !node.children.contains_key(level) {
                node.children.insert(level.into(), Node::default());
            }
            // The line above put it there.
            node.children.get_mut(level).expect("inserted above")
        })
    }

    /// Takes the message out and drops nodes that are empty then.
    fn clear(&mut self, rest: Option<&str>) -> Option<Kept> {
        let Some(rest) = rest else { return self.kept.take() };
        let (level, rest) = split(rest);
        let child = self.children.get_mut(level)?;
        let kept = child.clear(rest);
        if child.kept.is_none() && child.children.is_empty() {
            self.children.remove(level);
        }
        kept
    }

    fn search(&self, rest: Option<&str>, root: bool, search: &mut Search<'_>) {
        let Some(rest) = rest else { return self.take(search) };
        match split(rest) {
            ("#", _) => self.all(root, search),
            ("+", rest) => self.visible(root).for_each(|(_, child)| child.search(rest, false, search)),
            (level, rest) => {
                if let Some(child) = self.children.get(level) {
                    child.search(rest, false, search);
                }
            }
        }
    }

    fn all(&self, root: bool, search: &mut Search<'_>) {
        self.take(search);
        self.visible(root).for_each(|(_, child)| child.all(false, search));
    }

    /// MQTT-4.7.2-1: a leading wildcard does not match `$` topics.
    fn visible(&self, root: bool) -> impl Iterator<Item = (&Box<str>, &Node)> {
        self.children.iter().filter(move |(level, _)| !(root && level.starts_with('$')))
    }

    fn take(&self, search: &mut Search<'_>) {
        let Some(kept) = self.kept.as_ref().filter(|kept| !kept.message.is_expired(search.now)) else { return };
        if search.found.len() < search.limit {
            search.found.push(kept.clone());
        } else {
            search.beyond += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::matches;
    use proptest::prelude::*;
    use tidegate_message::{MessageBuilder, Protocol};

    fn message(topic: &str, payload: &[u8]) -> Arc<Message> {
        Arc::new(MessageBuilder::new(Protocol::Mqtt, topic, payload).build().expect("a short topic"))
    }

    proptest! {
        #[test]
        fn finds_exactly_the_topics_that_match_by_definition(
            topics in proptest::collection::btree_set("(\\$S|a|b|)(/(a|b|)){0,3}", 1..20),
            filter in "(\\$S|a|b|\\+|)(/(a|b|\\+|)){0,3}(/#)?",
        ) {
            let retained = Retained::new(100, 1 << 20);
            for topic in &topics {
                prop_assert!(retained.store(&message(topic, b"x")).is_ok());
            }
            let mut found: Vec<String> =
                retained.matching(&filter, 0, 100).iter().map(|kept| kept.message.topic().to_owned()).collect();
            found.sort();
            let expected: Vec<String> = topics.iter().filter(|topic| matches(&filter, topic)).cloned().collect();
            prop_assert_eq!(found, expected);
            for topic in &topics {
                prop_assert!(retained.clear(topic));
            }
            prop_assert_eq!((retained.count(), retained.bytes()), (0, 0));
        }
    }

    #[test]
    fn what_has_expired_takes_no_room_and_what_replaced_it_stays() {
        let retained = Retained::new(2, 1 << 20);
        let until = |topic: &str, at: u64| {
            let mut message = MessageBuilder::new(Protocol::Mqtt, topic, b"x");
            message.expires_at = Some(at);
            Arc::new(message.build().expect("a short topic"))
        };
        assert!(retained.store(&until("a", 5)).is_ok() && retained.store(&until("b", 5)).is_ok());
        assert!(retained.store(&until("b", 9)).is_ok());
        retained.sweep(4, 10);
        assert_eq!((retained.count(), retained.store(&message("c", b"1"))), (2, Err(RetainedFull)));
        retained.sweep(5, 10);
        assert_eq!((retained.count(), retained.get("b", 5).map(|kept| kept.sequence)), (1, Some(3)));
        assert!(retained.store(&message("b", b"for ever")).is_ok() && retained.store(&message("c", b"1")).is_ok());
        retained.sweep(100, 10);
        assert_eq!(retained.count(), 2);
    }

    #[test]
    fn an_empty_payload_clears_and_a_later_store_has_a_higher_number() {
        let retained = Retained::new(1, 1 << 20);
        assert_eq!(retained.store(&message("a", b"1")), Ok(1));
        assert_eq!(retained.store(&message("a", b"2")), Ok(2));
        assert_eq!(retained.store(&message("b", b"1")), Err(RetainedFull));
        assert_eq!(retained.get("a", 0).map(|kept| kept.sequence), Some(2));
        assert_eq!(retained.store(&message("a", b"")), Ok(3));
        assert_eq!((retained.get("a", 0), retained.count()), (None, 0));
    }
}
