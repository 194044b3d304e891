//! `$delayed/<seconds>/<topic>`: a publish that waits for its time. It is checked when
//! it comes and published as if it came then; until then nobody but the log knows it.
//! Wills that the driver has to see wait here too, due at once.

use crate::access::{Access, Own, Rule};
use crate::broker::Broker;
use crate::record::Record;
use crate::sink::{DropReason, Sink};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidegate_message::{Message, MessageBuilder, Outcome, Qos};

const PREFIX: &str = "$delayed/";

/// A publish whose time has come: publish it, then call `delayed_done`.
#[derive(Clone, Debug)]
pub struct Delayed {
    /// Its name here.
    pub id: u64,
    /// Who published it.
    pub access: Access,
    /// What is to be published.
    pub message: Arc<Message>,
    /// It is a will: it was counted as coming in by nobody.
    pub is_will: bool,
}

/// A delayed publish as it was kept.
#[derive(Clone, PartialEq, Debug)]
pub struct StoredDelayed {
    /// User and client that published it.
    pub user: Option<Arc<str>>,
    /// See `user`.
    pub client_id: Option<Arc<str>>,
    /// Everything was allowed to it.
    pub is_superuser: bool,
    /// Rules that its identity brought.
    pub rules: Option<Arc<[Rule]>>,
    /// What is to be published.
    pub message: Arc<Message>,
    /// When, on the gateway's clock.
    pub due_at: u64,
    /// It is a will.
    pub is_will: bool,
}

#[derive(Debug)]
struct Waiting {
    delayed: Delayed,
    due_at: u64,
    is_kept: bool,
}

/// How much waits.
#[derive(Default)]
struct Load {
    count: usize,
    bytes: usize,
}

/// All that wait on one worker, bounded in number and bytes: delayed publishes and wills each for themselves.
#[derive(Default)]
pub(crate) struct DelayedQueue {
    by_id: BTreeMap<u64, Waiting>,
    order: BTreeSet<(u64, u64)>,
    delayed: Load,
    wills: Load,
}

impl DelayedQueue {
    pub(crate) fn next_due(&self) -> Option<u64> {
        self.order.first().map(|(at, _)| *at)
    }

    fn load(&mut self, is_will: bool) -> &mut Load {
        if is_will { &mut self.wills } else { &mut self.delayed }
    }

    fn insert(&mut self, waiting: Waiting) {
        let load = self.load(waiting.delayed.is_will);
        load.count += 1;
        load.bytes += waiting.delayed.message.cost();
        self.order.insert((waiting.due_at, waiting.delayed.id));
        self.by_id.insert(waiting.delayed.id, waiting);
    }

    fn remove(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.by_id.remove(&id)?;
        self.order.remove(&(waiting.due_at, id));
        let load = self.load(waiting.delayed.is_will);
        load.count -= 1;
        load.bytes -= waiting.delayed.message.cost();
        Some(waiting)
    }
}

impl Load {
    /// Whether a message finds no room, where `count` messages and `bytes` may wait.
    fn is_full(&self, message: &Message, (count, bytes): (usize, usize)) -> bool {
        self.count >= count || self.bytes + message.cost() > bytes
    }
}

/// Seconds and topic of a delayed publish. `None`: it is an ordinary one; `Some(None)`:
/// it is neither.
pub(crate) fn split_delayed(topic: &str) -> Option<Option<(u32, &str)>> {
    let rest = topic.strip_prefix(PREFIX)?;
    let split = rest.split_once('/').and_then(|(seconds, topic)| {
        let is_number = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
        Some((seconds.parse().ok().filter(|_| is_number)?, topic))
    });
    Some(split.filter(|(_, topic)| !topic.starts_with(PREFIX)))
}

impl Broker {
    /// Takes a delayed publish that was checked.
    pub(crate) fn delay<S: Sink>(
        &mut self,
        now: u64,
        access: Access,
        message: MessageBuilder<'_>,
        sink: &mut S,
    ) -> Outcome {
        let Some((seconds, topic)) = split_delayed(message.topic).flatten() else { return Outcome::InvalidTopic };
        let is_kept = self.shared.is_keeping() && (message.retain || message.qos != Qos::AtMostOnce);
        let Some(message) = MessageBuilder { topic, ..message }.build() else { return Outcome::InvalidTopic };
        let limits = &self.subscribers.limits;
        let bounds = (limits.max_delayed, limits.max_queued_total_bytes);
        if self.delayed.delayed.is_full(&message, bounds) || (is_kept && self.shared.is_full()) {
            return Outcome::QuotaExceeded;
        }
        let due_at = now.saturating_add(u64::from(seconds) * 1_000);
        let (id, message) = (self.subscribers.next_name(), Arc::new(message));
        self.hold(Waiting { delayed: Delayed { id, access, message, is_will: false }, due_at, is_kept }, sink);
        Outcome::Success
    }

    /// Takes a will up that the driver publishes: from then on it stands in the log as a delayed publish does.
    pub(crate) fn hold_will<S: Sink>(&mut self, now: u64, access: &Access, will: MessageBuilder<'_>, sink: &mut S) {
        let (protocol, promised) = (will.protocol, will.retain || will.qos != Qos::AtMostOnce);
        let limits = &self.subscribers.limits;
        let bounds = (limits.max_pending_wills, limits.max_queued_total_bytes);
        let Some(message) = will.build().filter(|message| !self.delayed.wills.is_full(message, bounds)) else {
            self.count(Outcome::QuotaExceeded);
            return self.subscribers.lose((protocol, DropReason::WillsFull), 1, sink);
        };
        let is_kept = promised && self.shared.is_keeping() && !self.shared.is_full();
        let (id, access, message) = (self.subscribers.next_name(), access.clone(), Arc::new(message));
        self.hold(Waiting { delayed: Delayed { id, access, message, is_will: true }, due_at: now, is_kept }, sink);
    }

    fn hold<S: Sink>(&mut self, waiting: Waiting, sink: &mut S) {
        tell(&waiting, sink);
        self.delayed.insert(waiting);
    }

    /// The next delayed publish that is due.
    pub fn poll_delayed(&mut self, now: u64) -> Option<Delayed> {
        let (at, id) = *self.delayed.order.first().filter(|(at, _)| *at <= now)?;
        self.delayed.order.remove(&(at, id));
        self.delayed.by_id.get(&id).map(|waiting| waiting.delayed.clone())
    }

    /// A delayed publish was published: it waits no more.
    pub fn delayed_done<S: Sink>(&mut self, id: u64, sink: &mut S) {
        if self.delayed.remove(id).is_some_and(|waiting| waiting.is_kept) {
            sink.append(&Record::Undelay { id });
        }
    }

    /// Publishes that wait for their time.
    pub const fn delayed(&self) -> usize {
        self.delayed.delayed.count
    }

    /// Wills that were handed to the driver, or are to be.
    pub const fn pending_wills(&self) -> usize {
        self.delayed.wills.count
    }

    /// Takes up a delayed publish that was kept.
    pub fn restore_delayed<S: Sink>(&mut self, stored: StoredDelayed, sink: &mut S) {
        let StoredDelayed { user, client_id, is_superuser, rules, message, due_at, is_will } = stored;
        let access = Access::of(user, client_id).with_own(Own { is_superuser, rules, until: None });
        let delayed = Delayed { id: self.subscribers.next_name(), access, message, is_will };
        self.hold(Waiting { delayed, due_at, is_kept: self.shared.is_keeping() }, sink);
    }

    /// Says those from the name `from` on, at most `enough`: the name to go on with.
    pub(crate) fn tell_delayed<S: Sink>(&self, from: u64, enough: usize, sink: &mut S) -> Option<u64> {
        let mut rest = self.delayed.by_id.range(from..);
        rest.by_ref().take(enough).for_each(|(_, waiting)| tell(waiting, sink));
        rest.next().map(|(id, _)| *id)
    }
}

fn tell<S: Sink>(waiting: &Waiting, sink: &mut S) {
    let Waiting { delayed: Delayed { id, access, message, is_will }, due_at, is_kept } = waiting;
    if *is_kept {
        let (user, client_id) = (access.user.as_deref(), access.client_id.as_deref());
        sink.append(&Record::Delay { id: *id, user, client_id, message, due_at: *due_at });
        let (is_superuser, rules) = (access.is_superuser(), access.rules());
        if is_superuser || rules.is_some() {
            sink.append(&Record::DelayIdentity { id: *id, is_superuser, rules });
        }
        if *is_will {
            sink.append(&Record::DelayWill { id: *id });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delayed_topic_names_its_seconds_and_nothing_else_passes() {
        assert_eq!(split_delayed("a/b"), None);
        assert_eq!(split_delayed("$delayed/5/a/b"), Some(Some((5, "a/b"))));
        for bad in
            ["$delayed/", "$delayed/5", "$delayed/x/a", "$delayed/-1/a", "$delayed/+1/a", "$delayed/4294967296/a"]
        {
            assert_eq!(split_delayed(bad), Some(None), "{bad}");
        }
        assert_eq!(split_delayed("$delayed/1/$delayed/1/a"), Some(None));
    }
}
