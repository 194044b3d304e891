//! One TLS connection without sockets: records come in slices, plaintext goes to a
//! sink, what must be sent gathers in `out`. Between two calls it keeps an
//! incomplete record and what has to be sent, nothing else.

use crate::names::Names;
use crate::peer::client_certificate;
use crate::provider::provider;
use crate::resolver::shown;
use crate::{ClientTerms, ServerTerms};
use rustls::{ClientConnection, Connection, ServerConnection};
use std::fmt;
use std::io::{BufRead, Write};
use std::sync::Arc;
use tidegate_message::ClientCertificate;

/// Why a connection cannot go on: the peer broke the protocol or is not trusted.
#[derive(Debug)]
pub struct Fault(rustls::Error);

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl std::error::Error for Fault {}

/// See the module.
pub struct Session {
    connection: Box<Connection>,
    /// What must be sent: handshake, tickets, alerts.
    pub out: Vec<u8>,
    /// What the shown certificate covers.
    pub names: Option<Arc<Names>>,
    is_at_end: bool,
}

impl Session {
    /// The server's side.
    ///
    /// # Errors
    /// The terms cannot be used.
    pub fn server(terms: &ServerTerms) -> Result<Session, Fault> {
        let connection = ServerConnection::new(Arc::clone(&terms.config)).map_err(Fault)?;
        Ok(Session::new(Connection::Server(connection)))
    }

    /// The client's side, to an endpoint of that name or address; its hello stands in `out`.
    ///
    /// # Errors
    /// The terms cannot be used, or `host` is no name.
    pub fn client(terms: &ClientTerms, host: &str) -> Result<Session, Fault> {
        let no_name = || Fault(rustls::Error::General(format!("{host} is no name that a certificate can have")));
        let name = terms.server_name(host).ok_or_else(no_name)?;
        let connection = ClientConnection::new(Arc::clone(&terms.config), name).map_err(Fault)?;
        let mut session = Session::new(Connection::Client(connection));
        session.collect();
        Ok(session)
    }

    fn new(mut connection: Connection) -> Session {
        // Who writes bounds what is in hand: all of it is encrypted at once.
        connection.set_buffer_limit(None);
        Session { connection: Box::new(connection), out: Vec::new(), names: None, is_at_end: false }
    }

    /// Whether the handshake goes on.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the peer said that it sends no more.
    pub const fn is_at_end(&self) -> bool {
        self.is_at_end
    }

    /// The protocol that was agreed on.
    pub fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    /// The name that the client asked for, in lower case.
    pub fn server_name(&self) -> Option<String> {
        match &*self.connection {
            Connection::Server(server) => server.server_name().map(str::to_ascii_lowercase),
            Connection::Client(_) => None,
        }
    }

    /// What the client proved about itself.
    pub fn client_certificate(&self) -> Option<ClientCertificate> {
        let Connection::Server(server) = &*self.connection else { return None };
        let der = server.peer_certificates()?.first()?;
        let sha256 = provider().cipher_suites.iter().find_map(|suite| match suite {
            rustls::SupportedCipherSuite::Tls13(suite) => {
                Some(suite.common.hash_provider).filter(|hash| hash.output_len() == 32)
            }
            rustls::SupportedCipherSuite::Tls12(_) => None,
        })?;
        client_certificate(der, sha256.hash(der).as_ref())
    }

    /// Takes records as they came; plaintext goes to `sink`.
    ///
    /// # Errors
    /// The peer's fault; an alert for it stands in `out`.
    pub fn receive(&mut self, mut incoming: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        while !incoming.is_empty() {
            // A slice does not fail, and plaintext never waits: only a full record buffer refuses,
            // and then the next step finds the fault in it.
            let taken = self.connection.read_tls(&mut incoming).unwrap_or(0);
            let state = self.connection.process_new_packets();
            if let Some(shown) = shown() {
                self.names = Some(shown);
            }
            self.collect();
            self.is_at_end |= state.map_err(Fault)?.peer_has_closed();
            let mut reader = self.connection.reader();
            while let Ok(plain) = reader.fill_buf()
                && !plain.is_empty()
            {
                let count = plain.len();
                sink(plain);
                reader.consume(count);
            }
            // Behind the peer's end nothing counts.
            if taken == 0 || self.is_at_end {
                break;
            }
        }
        Ok(())
    }

    /// Appends records with `plain` to `into`, behind what had to be sent before.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn encrypt(&mut self, plain: &[u8], into: &mut Vec<u8>) -> Result<(), Fault> {
        into.append(&mut self.out);
        let broken = |_| Fault(rustls::Error::EncryptError);
        self.connection.writer().write_all(plain).map_err(broken)?;
        while self.connection.wants_write() {
            self.connection.write_tls(into).map_err(broken)?;
        }
        Ok(())
    }

    /// Puts a close_notify into `out`: nothing more comes from us.
    pub fn close(&mut self) {
        self.connection.send_close_notify();
        self.collect();
    }

    fn collect(&mut self) {
        while self.connection.wants_write() && self.connection.write_tls(&mut self.out).is_ok() {}
    }
}
