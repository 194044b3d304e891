//! Topic aliases that a client set: bounded by what the server announced.

use crate::publish::Publish;
use crate::reason;
use crate::rules::{coded, ensure, protocol};
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
            return known.map(Topic::Known).ok_or(protocol("MQTT-3.3.2-12", "a topic alias has no topic"));
        }
        if aliases.topics.len() <= slot {
            aliases.topics.resize(slot + 1, None);
        }
        aliases.topics[slot] = Some(publish.topic.into());
        Ok(Topic::Given(publish.topic))
    }
}
