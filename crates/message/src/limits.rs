//! Every bound of the data path with its default. The config key is `limits`;
//! the table in `docs/limits.md` is checked against these values.

/// Bounds that codecs and the data path take as a constructor argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// One header line, bytes (HTTP). Default 8 KiB.
    pub header_line: usize,
    /// A whole head, bytes (HTTP). Default 32 KiB.
    pub header_total: usize,
    /// Header lines of a head. Default 100.
    pub header_count: usize,
    /// Chunk extensions of a body in total, bytes. Default 16 KiB.
    pub chunk_extensions: usize,
    /// One MQTT packet, bytes, its fixed header included. Default 1 MiB, bound 256 MiB.
    pub mqtt_packet: usize,
    /// MQTT user properties of one packet. Default 64.
    pub mqtt_user_properties: usize,
    /// Levels of a topic or filter. Default 128.
    pub topic_levels: usize,
    /// One CoAP message, bytes. Default 1,280 + 64 of header.
    pub coap_message: usize,
    /// CoAP options of one message. Default 64.
    pub coap_options: usize,
    /// One WebSocket message after joining its fragments, bytes. Default 1 MiB.
    pub websocket_message: usize,
    /// A body that is collected before it is published or handled, bytes. Default 1 MiB.
    pub body_collected: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_line: 8 << 10,
            header_total: 32 << 10,
            header_count: 100,
            chunk_extensions: 16 << 10,
            mqtt_packet: 1 << 20,
            mqtt_user_properties: 64,
            topic_levels: 128,
            coap_message: 1_344,
            coap_options: 64,
            websocket_message: 1 << 20,
            body_collected: 1 << 20,
        }
    }
}
