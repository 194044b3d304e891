//! What a server announces and therefore enforces; one per listener, shared by its
//! connections.

use tidegate_message::{Limits, Qos};

/// The server's terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Packet size, user properties and topic levels.
    pub limits: Limits,
    /// Publishes of QoS 1 and 2 that a version 5 client may have unacknowledged. Default 64.
    pub receive_maximum: u16,
    /// Topic aliases either side may set, the client's own maximum aside. Default 16; 0: none.
    pub topic_alias_maximum: u16,
    /// Longest keep-alive, seconds; 0: what the client asks for, which is the default.
    pub server_keep_alive: u16,
    /// Highest QoS. Default 2.
    pub maximum_qos: Qos,
    /// Whether messages may be retained. Default `true`.
    pub retain_available: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            limits: Limits::default(),
            receive_maximum: 64,
            topic_alias_maximum: 16,
            server_keep_alive: 0,
            maximum_qos: Qos::ExactlyOnce,
            retain_available: true,
        }
    }
}

/// What the broker decided about a CONNECT that it serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accepted<'a> {
    /// Whether it still had the session.
    pub session_present: bool,
    /// The identifier it gave to a client that sent none.
    pub assigned_client_id: Option<&'a str>,
    /// The session expiry, seconds, where it is not the one asked for.
    pub session_expiry: Option<u32>,
    /// Method and last data of enhanced authentication.
    pub auth: Option<(&'a str, &'a [u8])>,
    /// Longest keep-alive of this client, seconds; 0: the server's own terms.
    pub keep_alive: u16,
    /// User properties, names and values.
    pub user_properties: &'a [(Box<str>, Box<str>)],
    /// What a client that asked for it may begin its response topics with.
    pub response_information: Option<&'a str>,
}
