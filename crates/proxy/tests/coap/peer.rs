//! A CoAP peer over a real socket. It acknowledges what it receives.

use crate::gateway::Running;
use std::net::UdpSocket;
use std::time::Duration;
use tidegate_coap::{Code, Head, Message, OptionList, OptionNumber, Token, Type, encode, encode_empty};

/// What a test looks at of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) kind: Type,
    pub(crate) code: Code,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
    pub(crate) payload: Vec<u8>,
}

impl Received {
    pub(crate) fn option(&self, number: u16) -> Option<&[u8]> {
        self.options.iter().find(|(own, _)| *own == number).map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("text")
    }

    /// Location-Path, joined by slashes.
    pub(crate) fn location(&self) -> String {
        let levels = self.options.iter().filter(|(number, _)| *number == OptionNumber::LOCATION_PATH);
        levels.map(|(_, level)| String::from_utf8_lossy(level).into_owned()).collect::<Vec<_>>().join("/")
    }
}

pub(crate) struct Peer {
    pub(crate) socket: UdpSocket,
    next_id: u16,
}

impl Peer {
    pub(crate) fn of(running: &Running) -> Peer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        socket.connect(running.address).expect("an address");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        Peer { socket, next_id: 1 }
    }

    /// Sends a request; its token is made of its path.
    pub(crate) fn send(&mut self, (kind, code, path): (Type, Code, &str), options: &[(u16, &[u8])], payload: &[u8]) {
        let mut list = OptionList::new();
        for level in path.split('/') {
            list.push(OptionNumber::URI_PATH, level.as_bytes());
        }
        for (number, value) in options {
            list.push(*number, value);
        }
        self.next_id += 1;
        let token = Token::new(&path.as_bytes()[..path.len().min(8)]).expect("short");
        let head = Head { kind, code, message_id: self.next_id, token };
        let mut datagram = Vec::new();
        encode(&mut datagram, &head, [&list, &OptionList::new()], payload);
        self.socket.send(&datagram).expect("sent");
    }

    /// The next message that is not empty.
    pub(crate) fn receive(&self) -> Received {
        let mut buffer = [0; 2048];
        loop {
            let len = self.socket.recv(&mut buffer).expect("a message");
            let message = Message::decode(&buffer[..len], 64).expect("valid");
            if message.kind == Type::Confirmable {
                let mut ack = Vec::new();
                encode_empty(&mut ack, Type::Acknowledgement, message.message_id);
                self.socket.send(&ack).expect("sent");
            }
            if message.code != Code::EMPTY {
                let options = message.options().map(|option| (option.number, option.value.to_vec())).collect();
                return Received { kind: message.kind, code: message.code, options, payload: message.payload.to_vec() };
            }
        }
    }

    pub(crate) fn ask(&mut self, code: Code, path: &str, payload: &[u8]) -> Received {
        self.send((Type::Confirmable, code, path), &[], payload);
        self.receive()
    }

    pub(crate) fn observe(&mut self, path: &str) -> Received {
        self.send((Type::Confirmable, Code::GET, path), &[(OptionNumber::OBSERVE, b"")], b"");
        self.receive()
    }
}
