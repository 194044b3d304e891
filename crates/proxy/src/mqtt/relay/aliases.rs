//! Topic aliases of a proxied client: its rules and policies want the topic, and a publish
//! that never arrived has set nothing there.

use foldhash::fast::RandomState;
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_mqtt::{Publish, reason};

/// Bytes of topics that aliases of one client may stand for.
const BYTES_MAX: usize = 1 << 20;

/// What each alias stands for, and whether the broker has heard so.
pub(super) struct Aliases {
    /// As the broker's CONNACK said.
    maximum: Rc<Cell<u16>>,
    topics: HashMap<u16, (Arc<str>, bool), RandomState>,
    bytes: usize,
}

impl Aliases {
    pub(super) fn new(maximum: Rc<Cell<u16>>) -> Self {
        Aliases { maximum, topics: HashMap::default(), bytes: 0 }
    }

    /// The topic of a publish that an alias stands for or is set by, and whether the broker
    /// would know it. `Ok(None)`: there is no alias. `Err`: with what the connection ends.
    pub(super) fn resolve(&mut self, publish: &Publish<'_>) -> Result<Option<(Arc<str>, bool)>, u8> {
        let Some(alias) = publish.topic_alias() else { return Ok(None) };
        // MQTT-3.3.2-9
        if alias == 0 || alias > self.maximum.get() {
            return Err(reason::TOPIC_ALIAS_INVALID);
        }
        if publish.topic.is_empty() {
            return self.topics.get(&alias).cloned().map(Some).ok_or(reason::PROTOCOL_ERROR);
        }
        let topic: Arc<str> = publish.topic.into();
        self.bytes += topic.len();
        if let Some((old, _)) = self.topics.insert(alias, (Arc::clone(&topic), false)) {
            self.bytes -= old.len();
        }
        if self.bytes > BYTES_MAX {
            return Err(reason::QUOTA_EXCEEDED);
        }
        Ok(Some((topic, true)))
    }

    /// A publish went there as it came: what alias it set counts.
    pub(super) fn passed(&mut self, publish: &Publish<'_>) {
        if let Some((_, is_there)) = publish.topic_alias().and_then(|alias| self.topics.get_mut(&alias)) {
            *is_there = true;
        }
    }
}
