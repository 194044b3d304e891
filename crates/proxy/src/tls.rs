//! A client that opens with TLS: the session goes between its socket and its driver,
//! and detection begins again within it.

use crate::client::{Client, Input};
use crate::ends::Tls;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_message::Protocol;
use tidegate_tls::Session;

/// Puts a session in place and feeds it what was read. `None`: the client broke the
/// protocol or is not trusted; it has been told by an alert.
pub(crate) fn begin(client: &mut Client, input: Input) -> Option<Rc<Tls>> {
    let session = client.trust().tls.as_ref().and_then(|terms| Session::server(terms).ok());
    let Some(session) = session else {
        client.worker.buffers.give(input.buffer);
        return None;
    };
    let tls = Rc::new(Tls::new(session));
    let begun = client.connection.end.encrypt_by(Rc::clone(&tls), input.bytes());
    client.worker.buffers.give(input.buffer);
    if begun.is_err() {
        failed(client);
        return None;
    }
    Some(tls)
}

/// What the handshake brought: who the client is, and as whom we were shown.
pub(crate) fn established(client: &mut Client, tls: &Tls) {
    client.worker.counters.handshakes.add(1);
    let user_from = client.trust().tls.as_ref().and_then(|terms| terms.user_from);
    client.know(|known| {
        tls.with_session(|session| {
            known.sni = session.server_name().map(String::into_boxed_str);
            known.certificate = session.client_certificate().map(Arc::new);
        });
        if let Some((from, certificate)) = user_from.zip(known.certificate.as_ref()) {
            known.user = from.user(certificate).map(Arc::from);
        }
    });
    client.names = tls.names();
}

/// Counts a handshake that came to nothing.
pub(crate) fn failed(client: &Client) {
    client.worker.counters.failed_handshakes.add(1);
    client.worker.counters.of(Protocol::Tls).refused.add(1);
}
