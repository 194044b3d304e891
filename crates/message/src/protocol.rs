//! Which protocol a message came by, and what kind of message it is.

/// A protocol of the front. Its label is the `protocol` label of every metric.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// HTTP/1.0 and HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113).
    Http2,
    /// A WebSocket that is proxied or speaks `tidegate.v1.json` (RFC 6455).
    WebSocket,
    /// MQTT 3.1, 3.1.1 and 5, over TCP or WebSocket.
    Mqtt,
    /// CoAP over UDP (RFC 7252).
    Coap,
    /// CoAP over TCP (RFC 8323).
    CoapTcp,
    /// A TLS record layer whose inside is not known yet.
    Tls,
    /// The gateway itself: `publish()` of the API, a route's topic target.
    Internal,
}

impl Protocol {
    /// Every protocol, in the order of the discriminants.
    pub const ALL: [Protocol; 8] = [
        Protocol::Http1,
        Protocol::Http2,
        Protocol::WebSocket,
        Protocol::Mqtt,
        Protocol::Coap,
        Protocol::CoapTcp,
        Protocol::Tls,
        Protocol::Internal,
    ];

    /// The name used in config, metrics and logs.
    pub const fn label(self) -> &'static str {
        match self {
            Protocol::Http1 => "http1",
            Protocol::Http2 => "http2",
            Protocol::WebSocket => "websocket",
            Protocol::Mqtt => "mqtt",
            Protocol::Coap => "coap",
            Protocol::CoapTcp => "coap-tcp",
            Protocol::Tls => "tls",
            Protocol::Internal => "internal",
        }
    }
}

/// What a message asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// To everyone who subscribed to its topic.
    Publish,
    /// To one service, which answers.
    Request,
    /// The answer to a request.
    Reply,
    /// Something the gateway tells about itself.
    Event,
}
