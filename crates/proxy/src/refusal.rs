//! Goodbyes to clients that cannot be served, each in its own language.

use crate::client::Client;
use tidegate_detect::Opening;

/// RFC 9113: SETTINGS, then GOAWAY with HTTP_1_1_REQUIRED and a word of debug data.
const HTTP2: &[u8] =
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x18\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0duse HTTP/1.1 here";
/// RFC 8446 section 6: a fatal alert, handshake_failure.
const TLS: &[u8] = b"\x15\x03\x03\x00\x02\x02\x28";
/// RFC 8323: our CSM, then Abort (7.05) with a diagnostic payload.
const COAP_TCP: &[u8] = b"\x00\xe1\xd0\x08\xe5\xffnot on this listener";

/// TLS.
pub(crate) async fn tls(client: Box<Client>) {
    say(client, TLS).await;
}

/// A protocol that is not among the listener's.
pub(crate) async fn not_accepted(client: Box<Client>, opening: Opening) {
    const HTTP1: &[u8] = b"HTTP/1.1 421 Misdirected Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 37\r\nconnection: close\r\n\r\nthis listener does not speak HTTP/1.\n";
    // MQTT-3.1.4: no CONNACK tells "not this port"; 3.1.1 clients understand a plain close best.
    let words: &[u8] = match opening {
        Opening::Http1 => HTTP1,
        Opening::Http2 => HTTP2,
        Opening::Tls => TLS,
        Opening::CoapTcp => COAP_TCP,
        Opening::Mqtt | Opening::Proxy => b"",
    };
    say(client, words).await;
}

/// Somebody who connected and said nothing, or half a word.
pub(crate) fn silent(client: &Client) {
    const TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    if client.carry.first().is_some_and(u8::is_ascii_uppercase) {
        let _ = client.connection.end.try_write(TIMEOUT);
    }
}

async fn say(mut client: Box<Client>, words: &[u8]) {
    client.connection.lingers.set(true);
    client.carry = Vec::new();
    let stall = client.worker.plan().plan.limits.stall_timeout_ms;
    client.deadline(client.worker.clock.millis(), stall);
    if client.write_all(words).await.is_ok() {
        client.close().await;
    }
}
