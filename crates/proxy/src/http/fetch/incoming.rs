//! An answer that is collected whole, whatever its framing.

use super::Fetched;
use crate::http::failure::Flag;
use crate::outbound::Outbound;
use std::mem::MaybeUninit;
use tidegate_http::{BodyReader, HEADERS_MAX, Piece, lower_response_version, parse_response};
use tidegate_message::Limits;
use tokio::io::AsyncReadExt;

/// Room that a read asks for, bytes.
const READ_BYTES: usize = 16 << 10;

/// What came of an answer.
#[derive(Default)]
pub(super) struct Incoming {
    pub(super) bytes: Vec<u8>,
}

impl Incoming {
    pub(super) async fn read(
        &mut self,
        stream: &mut Outbound,
        (bounds, to_head, discards): (&Limits, bool, bool),
    ) -> Result<(Fetched, bool), Flag> {
        let (mut fetched, mut reader, keep_alive) = loop {
            self.more(stream).await?;
            if let Some(head) = self.take_head(bounds, to_head)? {
                break head;
            }
        };
        let mut used = 0;
        loop {
            let (piece, count) = reader.next(&self.bytes[used..]).map_err(|_| Flag::Protocol)?;
            used += count;
            match piece {
                Piece::Data(_) if discards => {}
                Piece::Data(data) if fetched.body.len() + data.len() > bounds.body_collected => {
                    return Err(Flag::Protocol);
                }
                Piece::Data(data) => fetched.body.extend_from_slice(data),
                // Bytes behind the answer are nobody's: such a connection is not used again.
                Piece::End(_) => return Ok((fetched, keep_alive && used == self.bytes.len())),
                Piece::NeedMore => {
                    self.bytes.clear();
                    used = 0;
                    match (self.more(stream).await, &reader) {
                        (Ok(()), _) => {}
                        (Err(_), BodyReader::UntilClose) => return Ok((fetched, false)),
                        (Err(flag), _) => return Err(flag),
                    }
                }
            }
        }
    }

    async fn more(&mut self, stream: &mut Outbound) -> Result<(), Flag> {
        self.bytes.reserve(READ_BYTES);
        match stream.read_buf(&mut self.bytes).await {
            Ok(count) if count > 0 => Ok(()),
            _ => Err(Flag::Terminated),
        }
    }

    /// The final head, once all of it is there; it is taken out of the bytes.
    fn take_head(&mut self, bounds: &Limits, to_head: bool) -> Result<Option<(Fetched, BodyReader, bool)>, Flag> {
        loop {
            let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            lower_response_version(&mut self.bytes);
            let head = parse_response(&self.bytes, bounds, to_head, &mut headers).map_err(|_| Flag::Protocol)?;
            let Some(head) = head else { return Ok(None) };
            let len = head.len;
            match head.status {
                // Nobody asked for an upgrade.
                101 => return Err(Flag::Protocol),
                // RFC 9110 section 15.2: interim answers are not the answer.
                ..200 => {}
                status => {
                    let fields = head.headers.iter().map(|field| (field.name.into(), field.value.into())).collect();
                    let reader = BodyReader::new(head.body, bounds.chunk_extensions);
                    let fetched = Fetched { status, fields, body: Vec::new() };
                    let keep_alive = head.keep_alive;
                    self.bytes.drain(..len);
                    return Ok(Some((fetched, reader, keep_alive)));
                }
            }
            self.bytes.drain(..len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    /// What `parts`, written one after the other, are read as.
    fn read(parts: &'static [&'static [u8]]) -> Result<(Fetched, bool), Flag> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("bound");
            let mut client = Outbound::Plain(TcpStream::connect(address).await.expect("connected"));
            let (mut server, _) = listener.accept().await.expect("accepted");
            let write = async move {
                for part in parts {
                    server.write_all(part).await.expect("written");
                    tokio::task::yield_now().await;
                }
            };
            let mut incoming = Incoming::default();
            let bounds = Limits { body_collected: 64, ..Limits::default() };
            tokio::join!(write, incoming.read(&mut client, (&bounds, false, false))).1
        })
    }

    #[test]
    fn collects_answers_of_every_framing() {
        let (fetched, again) =
            read(&[b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\nX-A: 1\r\n\r\nhe", b"llo"]).expect("valid");
        assert_eq!(
            (fetched.status, &*fetched.body, fetched.field("x-a"), again),
            (200, &b"hello"[..], Some(&b"1"[..]), true)
        );
        let (fetched, again) =
            read(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n", b"0\r\n\r\n"]).expect("valid");
        assert_eq!((&*fetched.body, again), (&b"he"[..], true));
        let (fetched, again) = read(&[b"HTTP/1.0 200 OK\r\n\r\nhe", b"llo"]).expect("valid");
        assert_eq!((&*fetched.body, again), (&b"hello"[..], false));
    }

    #[test]
    fn passes_over_interim_answers() {
        let (fetched, _) = read(&[b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"]).expect("valid");
        assert_eq!((fetched.status, fetched.body.len()), (204, 0));
    }

    #[test]
    fn does_not_use_a_connection_again_that_said_too_much() {
        let (_, again) = read(&[b"HTTP/1.1 204 No Content\r\n\r\nrubbish"]).expect("valid");
        assert!(!again);
    }

    #[test]
    fn refuses_what_is_cut_off_too_large_or_no_http() {
        assert_eq!(read(&[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"]).err(), Some(Flag::Terminated));
        assert_eq!(read(&[b"rubbish\r\n\r\n"]).err(), Some(Flag::Protocol));
        let large: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", &[0; 65]];
        assert_eq!(read(large).err(), Some(Flag::Protocol));
    }
}
