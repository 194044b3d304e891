//! Topic aliases of a proxied client, those it sets and those its broker sets: rules and policies want
//! the topic, and a publish that never arrived has set nothing there.

use foldhash::fast::RandomState;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_mqtt::{Publish, reason};

/// Bytes of topics that aliases of one direction may stand for.
const BYTES_MAX: usize = 1 << 20;

/// What each alias of one direction stands for, and whether the other side has heard so.
pub(super) struct Aliases {
    /// As the broker's CONNACK, or the client's CONNECT, said.
    maximum: Rc<Cell<u16>>,
    topics: HashMap<u16, (Arc<str>, bool), RandomState>,
    bytes: usize,
    /// Aliases that the other side has not heard of, or knows for something else.
    missing: usize,
}

impl Aliases {
    pub(super) fn new(maximum: Rc<Cell<u16>>) -> Self {
        Aliases { maximum, topics: HashMap::default(), bytes: 0, missing: 0 }
    }

    /// Whether there can be none.
    pub(super) fn is_off(&self) -> bool {
        self.maximum.get() == 0
    }

    /// Whether the other side knows each alias as the sender does.
    pub(super) fn are_there(&self) -> bool {
        self.missing == 0
    }

    /// The topic of a publish that an alias stands for or is set by, and whether the other side
    /// would know it. `Ok(None)`: there is no alias. `Err`: with what the connection ends.
    pub(super) fn resolve(&mut self, publish: &Publish<'_>) -> Result<Option<(Arc<str>, bool)>, u8> {
        let Some(alias) = publish.topic_alias() else { return Ok(None) };
        // MQTT-3.3.2-9
        if alias == 0 || alias > self.maximum.get() {
            return Err(reason::TOPIC_ALIAS_INVALID);
        }
        let known = self.topics.get(&alias);
        if publish.topic.is_empty() {
            return known.cloned().map(Some).ok_or(reason::PROTOCOL_ERROR);
        }
        if let Some((topic, _)) = known.filter(|(topic, _)| **topic == *publish.topic) {
            return Ok(Some((Arc::clone(topic), true)));
        }
        self.forget(alias);
        if self.bytes + publish.topic.len() > BYTES_MAX {
            return Err(reason::QUOTA_EXCEEDED);
        }
        let topic: Arc<str> = publish.topic.into();
        self.bytes += topic.len();
        self.missing += 1;
        self.topics.insert(alias, (Arc::clone(&topic), false));
        Ok(Some((topic, true)))
    }

    fn forget(&mut self, alias: u16) {
        if let Some((topic, is_there)) = self.topics.remove(&alias) {
            self.bytes -= topic.len();
            self.missing -= usize::from(!is_there);
        }
    }

    /// A publish went there with its alias: what that stands for is known there.
    pub(super) fn passed(&mut self, publish: &Publish<'_>) {
        if let Some((_, is_there)) = publish.topic_alias().and_then(|alias| self.topics.get_mut(&alias)) {
            self.missing -= usize::from(!*is_there);
            *is_there = true;
        }
    }
}
