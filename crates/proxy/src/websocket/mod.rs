//! The subprotocol `tidegate.v1.json`: publish and subscribe in JSON text frames.

mod frame;
mod serve;

pub(crate) use serve::serve;

/// Its name.
pub(crate) const SUBPROTOCOL: &str = "tidegate.v1.json";
