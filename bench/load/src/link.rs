//! A socket of one client of CoAP: datagrams as they are, or records of DTLS.

use crate::args::Args;
use crate::dtls::{self, Psk, Session};
use mio::net::UdpSocket;
use std::io::ErrorKind;
use std::net::SocketAddr;

/// Where to, and who with: `--port`, and `--psk identity:key` for DTLS.
#[derive(Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    psk: Option<Psk>,
}

impl Server {
    /// Reads what was asked for.
    pub fn read(args: &Args) -> Result<Server, String> {
        let text: String = args.value("psk", String::new())?;
        let psk =
            text.split_once(':').map(|(identity, key)| Psk { identity: identity.to_owned(), key: key.to_owned() });
        if psk.is_none() && !text.is_empty() {
            return Err(format!("--psk: {text} is not identity:key"));
        }
        Ok(Server { address: args.address()?, psk })
    }
}

/// One client's way to the server.
pub struct Link {
    /// What its events are of.
    pub socket: UdpSocket,
    session: Option<Session>,
    record: Vec<u8>,
}

impl Link {
    /// A socket of its own, with a session that is through with its handshake.
    pub fn open(server: &Server) -> Result<Link, String> {
        let to = server.address;
        let named = |error: std::io::Error| format!("a socket for {to}: {error}");
        let socket = std::net::UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).map_err(named)?;
        socket.connect(to).map_err(named)?;
        let session = server.psk.as_ref().map(|psk| dtls::connect(&socket, psk)).transpose()?;
        socket.set_nonblocking(true).map_err(named)?;
        Ok(Link { socket: UdpSocket::from_std(socket), session, record: Vec::new() })
    }

    /// Sends a message. One that the socket has no room for is lost, as it would be on its way.
    pub fn send(&mut self, message: &[u8]) -> Result<(), String> {
        let bytes = match &mut self.session {
            Some(session) => {
                session.seal(message, &mut self.record);
                &self.record
            }
            None => message,
        };
        match self.socket.send(bytes) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(format!("sending: {error}")),
            _ => Ok(()),
        }
    }

    /// The next message that has come; how long it is.
    pub fn receive(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, String> {
        loop {
            let count = match self.socket.recv(bytes) {
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(format!("receiving: {error}")),
            };
            let Some(session) = &self.session else { return Ok(Some(count)) };
            if let Some(count) = session.open(&mut bytes[..count]) {
                return Ok(Some(count));
            }
        }
    }
}

impl Drop for Link {
    /// Whoever gets the port next must not find a session there.
    fn drop(&mut self) {
        if let Some(session) = &mut self.session {
            session.seal_goodbye(&mut self.record);
            let _ = self.socket.send(&self.record);
        }
    }
}
