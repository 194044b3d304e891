//! Topic aliases, those a client set and those the server sets: bounded by what the
//! other side announced.

use crate::publish::Publish;
use crate::reason;
use crate::rules::{coded, ensure, protocol};
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use tidegate_kit::DecodeError;

/// A topic as it came, or the one its alias stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Topic<'a> {
    /// In the packet.
    Given(&'a str),
    /// By alias.
    Known(Arc<str>),
}

impl Deref for Topic<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Topic::Given(topic) => topic,
            Topic::Known(topic) => topic,
        }
    }
}

/// Alias to topic, as long as the connection lasts (MQTT-3.3.2-7).
#[derive(Default, Debug)]
pub(crate) struct Aliases {
    topics: Vec<Option<Arc<str>>>,
}

impl Aliases {
    /// The topic of `publish`; `maximum` is what was announced.
    pub(crate) fn resolve<'a>(
        aliases: &mut Option<Box<Aliases>>,
        publish: &Publish<'a>,
        maximum: u16,
    ) -> Result<Topic<'a>, DecodeError> {
        let Some(alias) = publish.topic_alias() else { return Ok(Topic::Given(publish.topic)) };
        // MQTT-3.3.2-9
        let invalid = coded(reason::TOPIC_ALIAS_INVALID, "MQTT-3.3.2-9", "a topic alias is above the maximum");
        ensure(alias <= maximum, invalid)?;
        let slot = usize::from(alias) - 1;
        let aliases = aliases.get_or_insert_default();
        if publish.topic.is_empty() {
            let known = aliases.topics.get(slot).cloned().flatten();
            return known.map(Topic::Known).ok_or(protocol("MQTT5 section 3.3.2.3.4", "a topic alias has no topic"));
        }
        if aliases.topics.len() <= slot {
            aliases.topics.resize(slot + 1, None);
        }
        aliases.topics[slot] = Some(publish.topic.into());
        Ok(Topic::Given(publish.topic))
    }
}

/// An alias on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicAlias {
    /// From 1 to the client's maximum.
    pub number: u16,
    /// The client has its topic already: the packet needs none.
    pub is_known: bool,
}

/// A topic shorter than this is as cheap as its alias.
const WORTH_BYTES: usize = 4;

/// Topics that the client knows by number. The first ones have theirs as long as the
/// connection lasts: what is sent often comes early, and nothing is ever resent in vain.
#[derive(Debug)]
pub(crate) struct OutAliases {
    maximum: u16,
    numbers: HashMap<Box<[u8]>, u16, RandomState>,
}

impl OutAliases {
    /// For a client that takes `maximum` aliases; `None` where it takes none.
    pub(crate) fn new(maximum: u16) -> Option<Box<OutAliases>> {
        (maximum > 0).then(|| Box::new(OutAliases { maximum, numbers: HashMap::default() }))
    }

    /// The alias to send a message of `topic` with.
    pub(crate) fn find(&self, topic: &[u8]) -> Option<TopicAlias> {
        if let Some(&number) = self.numbers.get(topic) {
            return Some(TopicAlias { number, is_known: true });
        }
        let number = u16::try_from(self.numbers.len() + 1).ok().filter(|number| *number <= self.maximum)?;
        (topic.len() >= WORTH_BYTES).then_some(TopicAlias { number, is_known: false })
    }

    /// It was sent with its topic.
    pub(crate) fn set(&mut self, topic: &[u8], alias: TopicAlias) {
        if !alias.is_known {
            self.numbers.insert(topic.into(), alias.number);
        }
    }
}
