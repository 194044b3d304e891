//! One connection: set up with blocking calls, then non-blocking with one buffer for
//! what the socket did not take and one for a packet that is not whole.

use crate::packet::{self, Packet};
use mio::net::TcpStream;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

/// A connection that the broker accepted.
pub struct Client {
    /// The socket, non-blocking.
    pub stream: TcpStream,
    /// What is still to be written.
    pub out: Vec<u8>,
    rest: Vec<u8>,
}

impl Client {
    /// Connects, and subscribes where a filter is given; `kept`: with a session that outlives it.
    pub fn connect(
        address: SocketAddr,
        (id, kept): (&str, bool),
        filter: Option<(&str, u8)>,
    ) -> Result<Client, String> {
        let named = |error: std::io::Error| format!("{id}: {error}");
        let mut stream = std::net::TcpStream::connect(address).map_err(named)?;
        stream.set_nodelay(true).map_err(named)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(named)?;
        stream.write_all(&packet::connect(id, kept)).map_err(named)?;
        let mut rest = Vec::new();
        match await_packet(&mut stream, &mut rest).map_err(named)? {
            Answer::ConnAck(0) => {}
            answer => return Err(format!("{id}: CONNECT was answered by {answer:?}")),
        }
        if let Some((filter, qos)) = filter {
            stream.write_all(&packet::subscribe(filter, qos)).map_err(named)?;
            match await_packet(&mut stream, &mut rest).map_err(named)? {
                Answer::SubAck(code) if code < 0x80 => {}
                answer => return Err(format!("{id}: SUBSCRIBE was answered by {answer:?}")),
            }
        }
        stream.set_nonblocking(true).map_err(named)?;
        Ok(Client { stream: TcpStream::from_std(stream), out: Vec::new(), rest })
    }

    /// Writes what is waiting; keeps what the socket does not take.
    pub fn flush(&mut self) -> Result<(), String> {
        let mut done = 0;
        while done < self.out.len() {
            match self.stream.write(&self.out[done..]) {
                Ok(written) => done += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("writing: {error}")),
            }
        }
        self.out.drain(..done);
        Ok(())
    }

    /// Reads until a short read, and hands over every whole packet with the buffer for
    /// its answer.
    pub fn receive(
        &mut self,
        scratch: &mut [u8],
        mut each: impl FnMut(Packet<'_>, &mut Vec<u8>),
    ) -> Result<(), String> {
        loop {
            let kept = self.rest.len();
            scratch[..kept].copy_from_slice(&self.rest);
            let count = match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err("the gateway closed a connection".to_owned()),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("reading: {error}")),
            };
            let mut input = &scratch[..kept + count];
            while let Some((packet, len)) = packet::decode(input) {
                each(packet, &mut self.out);
                input = &input[len..];
            }
            self.rest.clear();
            self.rest.extend_from_slice(input);
            // A short read has emptied the socket; with edge triggers the next byte is an event.
            if kept + count < scratch.len() {
                return Ok(());
            }
        }
    }
}

#[derive(Debug)]
enum Answer {
    ConnAck(u8),
    SubAck(u8),
    Unexpected,
}

fn await_packet(stream: &mut std::net::TcpStream, rest: &mut Vec<u8>) -> std::io::Result<Answer> {
    loop {
        if let Some((packet, len)) = packet::decode(rest) {
            let answer = match packet {
                Packet::ConnAck(code) => Answer::ConnAck(code),
                Packet::SubAck(code) => Answer::SubAck(code),
                _ => Answer::Unexpected,
            };
            rest.drain(..len);
            return Ok(answer);
        }
        let mut bytes = [0; 512];
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        rest.extend_from_slice(&bytes[..count]);
    }
}
