//! Rate limits that several gateways share: what passed here, and what passed elsewhere.

use std::collections::BTreeMap;

use super::error::error;
use super::{Gateway, GatewayError};

/// By the limit's name: keys, a character a byte, with how many passed.
type Spent = BTreeMap<String, Vec<(String, u32)>>;

impl Gateway {
    /// What passed here since the last call, as JSON; keys are bytes as characters up to U+00FF.
    pub fn take_spent(&self) -> String {
        let limits = self.shared.registry.limits.lock();
        let text = |key: Box<[u8]>| key.iter().map(|byte| char::from(*byte)).collect::<String>();
        let spent: Spent = limits
            .take_spent()
            .into_iter()
            .map(|(name, keys)| (name.to_owned(), keys.into_iter().map(|(key, count)| (text(key), count)).collect()))
            .collect();
        serde_json::to_string(&spent).unwrap_or_default()
    }

    /// Takes the tokens of what passed at another gateway, told in the same form.
    ///
    /// # Errors
    /// `INVALID_OPTIONS` for another form.
    pub fn charge(&self, spent: &str) -> Result<(), GatewayError> {
        let spent: Spent = serde_json::from_str(spent).map_err(|cause| error("INVALID_OPTIONS", cause.to_string()))?;
        let now_ns = self.shared.clock.micros() * 1_000;
        let limits = self.shared.registry.limits.lock();
        for (name, keys) in &spent {
            for (key, count) in keys {
                let key: Result<Vec<u8>, _> = key.chars().map(u8::try_from).collect();
                let key = key.map_err(|_| error("INVALID_OPTIONS", "a key has a character beyond U+00FF"))?;
                limits.charge(name, &key, *count, now_ns);
            }
        }
        Ok(())
    }
}
