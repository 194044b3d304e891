//! A borrowed look at a request or message: what routes, policies and balancers
//! read, without owning anything and without knowing the protocol.

use crate::{Peer, Protocol};

/// A field that a route, a filter or a key may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FieldId<'a> {
    /// Request method, upper case: `GET`. CoAP codes map to their HTTP equals.
    Method,
    /// Host without port, lower case.
    Host,
    /// Canonical path, without query.
    Path,
    /// The first value of a query parameter, as sent.
    Query(&'a str),
    /// The first value of a header, of an MQTT user property or of a CoAP option
    /// that maps to one. Names compare without case.
    Header(&'a str),
    /// A cookie's value.
    Cookie(&'a str),
    /// Topic of a publish.
    Topic,
    /// MQTT client identifier.
    ClientId,
    /// Content type.
    ContentType,
    /// What only the broker knows of what it asks about, by its name.
    Attribute(&'static str),
}

/// A request or message as routes and policies see it.
pub trait View {
    /// The protocol it came by.
    fn protocol(&self) -> Protocol;
    /// Who sent it.
    fn peer(&self) -> &Peer;
    /// A field's bytes, or `None` where the message has none.
    fn field(&self, id: FieldId<'_>) -> Option<&[u8]>;
    /// Whether it has a field more than once: whoever reads it next may take another one for it.
    fn is_repeated(&self, _: FieldId<'_>) -> bool {
        false
    }
    /// The body as far as it is at hand; empty for a body that streams.
    fn payload(&self) -> &[u8] {
        &[]
    }
}
