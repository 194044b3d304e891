//! A client of DTLS 1.2 (RFC 6347) with one suite, TLS_PSK_WITH_AES_128_CCM_8 (RFC 6655), which
//! RFC 7252 section 9.1.3.1 wants everybody to have. It offers no extension, and so no
//! connection id; it loses and reorders nothing, as loopback does not. A load, not a library:
//! its randomness is none.

use aes::Aes128;
use ccm::aead::{AeadInPlace, KeyInit, generic_array::GenericArray};
use ccm::consts::{U8, U12};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

type Cipher = ccm::Ccm<Aes128, U8, U12>;

const SUITE: [u8; 2] = [0xc0, 0xa8];
const VERSION: [u8; 2] = [0xfe, 0xfd];
/// Record types (RFC 5246 section 6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
/// Handshake types (RFC 5246 section 7.4, RFC 6347 section 4.3.2).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const SERVER_HELLO_DONE: u8 = 14;
const CLIENT_KEY_EXCHANGE: u8 = 16;
const FINISHED: u8 = 20;

const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
/// The part of a nonce that stands in the record, and the tag of CCM-8.
const EXPLICIT: usize = 8;
const TAG: usize = 8;
/// The first epoch that is encrypted, above the 48 bits of a sequence number.
const EPOCH: u64 = 1 << 48;

/// How long a flight waits for its answer, and how often it is sent.
const PATIENCE: Duration = Duration::from_secs(1);
const TRIES: usize = 5;

/// Who a client is.
#[derive(Clone)]
pub struct Psk {
    /// The identity that is claimed.
    pub identity: String,
    /// What proves it.
    pub key: String,
}

/// The keys of one direction.
struct Half {
    cipher: Cipher,
    salt: [u8; 4],
}

impl Half {
    fn new(key: &[u8], salt: &[u8]) -> Half {
        let mut half = Half { cipher: Cipher::new(GenericArray::from_slice(key)), salt: [0; 4] };
        half.salt.copy_from_slice(salt);
        half
    }

    fn nonce(&self, explicit: &[u8]) -> GenericArray<u8, U12> {
        let mut nonce = GenericArray::default();
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(explicit);
        nonce
    }
}

/// Both directions of a client that is through with its handshake.
pub struct Session {
    own: Half,
    peer: Half,
    /// Epoch and number of the next record.
    sequence: u64,
}

/// What is authenticated beside a record (RFC 5246 section 6.2.3.3).
fn beside(sequence: &[u8], kind: u8, len: usize) -> [u8; RECORD_HEADER] {
    let mut all = [0; RECORD_HEADER];
    all[..8].copy_from_slice(sequence);
    all[8] = kind;
    all[9..11].copy_from_slice(&VERSION);
    all[11..].copy_from_slice(&(len as u16).to_be_bytes());
    all
}

impl Session {
    /// Writes a record of application data.
    pub fn seal(&mut self, plain: &[u8], record: &mut Vec<u8>) {
        self.seal_as(DATA, plain, record);
    }

    /// Writes the alert that ends the session.
    pub fn seal_goodbye(&mut self, record: &mut Vec<u8>) {
        self.seal_as(ALERT, &[1, 0], record);
    }

    fn seal_as(&mut self, kind: u8, plain: &[u8], record: &mut Vec<u8>) {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        record.clear();
        put_header(kind, &sequence, EXPLICIT + plain.len() + TAG, record);
        record.extend_from_slice(&sequence);
        record.extend_from_slice(plain);
        let (nonce, beside) = (self.own.nonce(&sequence), beside(&sequence, kind, plain.len()));
        let body = &mut record[RECORD_HEADER + EXPLICIT..];
        let tag = self.own.cipher.encrypt_in_place_detached(&nonce, &beside, body).expect("it is short");
        record.extend_from_slice(&tag);
    }

    /// Opens the first record of a datagram of application data, and moves what it carried to the
    /// front; how long that is. `None`: it carries none.
    pub fn open(&self, datagram: &mut [u8]) -> Option<usize> {
        self.open_as(DATA, datagram)
    }

    fn open_as(&self, wanted: u8, datagram: &mut [u8]) -> Option<usize> {
        let (kind, sequence, body) = records(datagram).next()?;
        let (sequence, start, end) = (sequence.try_into().ok()?, body.start + EXPLICIT, body.end.checked_sub(TAG)?);
        let sequence: [u8; 8] = sequence;
        if kind != wanted || u64::from_be_bytes(sequence) < EPOCH || start > end {
            return None;
        }
        let tag = *GenericArray::from_slice(&datagram[end..end + TAG]);
        let nonce = self.peer.nonce(&datagram[body.start..start]);
        let beside = beside(&sequence, kind, end - start);
        self.peer.cipher.decrypt_in_place_detached(&nonce, &beside, &mut datagram[start..end], &tag).ok()?;
        datagram.copy_within(start..end, 0);
        Some(end - start)
    }
}

fn put_header(kind: u8, sequence: &[u8], len: usize, record: &mut Vec<u8>) {
    record.push(kind);
    record.extend_from_slice(&VERSION);
    record.extend_from_slice(sequence);
    record.extend_from_slice(&(len as u16).to_be_bytes());
}

/// Type, epoch with number, and place of the body of each record.
fn records(datagram: &[u8]) -> impl Iterator<Item = (u8, &[u8], std::ops::Range<usize>)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let header = datagram.get(at..at + RECORD_HEADER)?;
        let start = at + RECORD_HEADER;
        at = start + usize::from(u16::from_be_bytes([header[11], header[12]]));
        (at <= datagram.len()).then_some((header[0], &header[3..11], start..at))
    })
}

/// A handshake message in one fragment.
fn message(kind: u8, number: u16, body: &[u8]) -> Vec<u8> {
    let len = &(body.len() as u32).to_be_bytes()[1..];
    [&[kind], len, &number.to_be_bytes(), &[0; 3], len, body].concat()
}

/// P_SHA256 of RFC 5246 section 5, as long as `out`.
fn derive(secret: &[u8], label: &str, seed: &[u8], out: &mut [u8]) {
    let mac = |parts: &[&[u8]]| {
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret).expect("any length is a key");
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes()
    };
    let mut chain = mac(&[label.as_bytes(), seed]);
    for part in out.chunks_mut(32) {
        part.copy_from_slice(&mac(&[&chain, label.as_bytes(), seed])[..part.len()]);
        chain = mac(&[&chain]);
    }
}

/// The side of a handshake that speaks: what was said so far, and the flight that is on its way.
struct Talk<'a> {
    socket: &'a UdpSocket,
    sequence: u64,
    said: Sha256,
    flight: Vec<Vec<u8>>,
    /// The number of the server's next message.
    next: u16,
}

impl Talk<'_> {
    fn queue(&mut self, kind: u8, body: &[u8]) {
        let mut record = Vec::new();
        put_header(kind, &self.sequence.to_be_bytes(), body.len(), &mut record);
        self.sequence += 1;
        record.extend_from_slice(body);
        self.flight.push(record);
    }

    fn send(&self) -> Result<(), String> {
        self.flight.iter().try_for_each(|record| self.socket.send(record).map(drop)).map_err(|error| error.to_string())
    }

    /// Sends the flight until `take` has found what it waits for in a datagram of the answer.
    fn exchange<T>(&mut self, mut take: impl FnMut(&mut Self, &mut [u8]) -> Option<T>) -> Result<T, String> {
        let mut bytes = [0; 2_048];
        for _ in 0..TRIES {
            self.send()?;
            loop {
                match self.socket.recv(&mut bytes) {
                    Ok(count) => {
                        if let Some(found) = take(self, &mut bytes[..count]) {
                            self.flight.clear();
                            return Ok(found);
                        }
                        if let Some((ALERT, _, at)) = records(&bytes[..count]).next() {
                            return Err(format!("the handshake ended with the alert {:?}", &bytes[at]));
                        }
                    }
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
                    Err(error) => return Err(format!("a handshake: {error}")),
                }
            }
        }
        Err("nothing answers a handshake".to_owned())
    }

    /// Each next message of the server, in the clear: its type and body.
    fn messages(&mut self, datagram: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut found = Vec::new();
        let clear = records(datagram).filter(|(kind, sequence, _)| *kind == HANDSHAKE && sequence[..2] == [0, 0]);
        for (_, _, body) in clear {
            let mut rest = &datagram[body];
            while let Some((header, behind)) = rest.split_at_checked(MESSAGE_HEADER) {
                let len = u32::from_be_bytes([0, header[1], header[2], header[3]]) as usize;
                let Some((body, behind)) = behind.split_at_checked(len) else { break };
                rest = behind;
                if u16::from_be_bytes([header[4], header[5]]) != self.next {
                    continue;
                }
                self.next += 1;
                self.said.update(header);
                self.said.update(body);
                found.push((header[0], body.to_vec()));
            }
        }
        found
    }
}

/// A hello: no session, a cookie, one suite and the mark of RFC 5746, no compression.
fn hello(random: &[u8; 32], cookie: &[u8]) -> Vec<u8> {
    let suites = [0, 4, SUITE[0], SUITE[1], 0x00, 0xff];
    [&VERSION[..], random, &[0], &[cookie.len() as u8], cookie, &suites, &[1, 0]].concat()
}

/// Shakes hands over a connected, blocking socket.
pub fn connect(socket: &UdpSocket, psk: &Psk) -> Result<Session, String> {
    socket.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let local = socket.local_addr().map_err(|error| error.to_string())?;
    let random: [u8; 32] = Sha256::digest(format!("{now} {local}")).into();
    let mut talk = Talk { socket, sequence: 0, said: Sha256::new(), flight: Vec::new(), next: 0 };

    talk.queue(HANDSHAKE, &message(CLIENT_HELLO, 0, &hello(&random, b"")));
    let cookie = talk.exchange(|talk, datagram| {
        let (kind, body) = talk.messages(datagram).pop()?;
        (kind == HELLO_VERIFY_REQUEST).then(|| body.get(3..).map(<[u8]>::to_vec))?
    })?;
    // Neither the first hello nor the request for the second counts (RFC 6347 section 4.2.1).
    let second = message(CLIENT_HELLO, 1, &hello(&random, &cookie));
    talk.said = Sha256::new_with_prefix(&second);
    talk.queue(HANDSHAKE, &second);
    let mut server = None;
    let server = talk.exchange(|talk, datagram| {
        for (kind, body) in talk.messages(datagram) {
            match kind {
                SERVER_HELLO => server = body.get(2..34).map(<[u8]>::to_vec),
                SERVER_HELLO_DONE => return server.take(),
                _ => {}
            }
        }
        None
    })?;

    // RFC 4279 section 2.
    let (key, len) = (psk.key.as_bytes(), (psk.key.len() as u16).to_be_bytes());
    let premaster = [&len[..], &vec![0; key.len()], &len, key].concat();
    let (mut master, mut keys) = ([0; 48], [0; 40]);
    derive(&premaster, "master secret", &[&random[..], &server].concat(), &mut master);
    derive(&master, "key expansion", &[&server, &random[..]].concat(), &mut keys);
    let (own, peer) = (Half::new(&keys[..16], &keys[32..36]), Half::new(&keys[16..32], &keys[36..]));
    let mut session = Session { own, peer, sequence: EPOCH };

    let name = psk.identity.as_bytes();
    let exchange = message(CLIENT_KEY_EXCHANGE, 2, &[&(name.len() as u16).to_be_bytes(), name].concat());
    talk.said.update(&exchange);
    talk.queue(HANDSHAKE, &exchange);
    talk.queue(CHANGE_CIPHER_SPEC, &[1]);
    let mut proof = [0; 12];
    derive(&master, "client finished", &talk.said.clone().finalize(), &mut proof);
    let mut record = Vec::new();
    session.seal_as(HANDSHAKE, &message(FINISHED, 3, &proof), &mut record);
    talk.flight.push(record);
    // The last flight may come in one datagram or in two.
    talk.exchange(|_, datagram| {
        let at = records(datagram).find(|(kind, sequence, _)| *kind == HANDSHAKE && sequence[1] == 1)?.2;
        session.open_as(HANDSHAKE, &mut datagram[at.start - RECORD_HEADER..])
    })?;
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_the_other_side_and_nothing_else_is() {
        let half = |key: u8| Half::new(&[key; 16], &[key; 4]);
        let mut client = Session { own: half(1), peer: half(2), sequence: EPOCH };
        let server = Session { own: half(2), peer: half(1), sequence: EPOCH };
        let mut record = Vec::new();
        client.seal(b"ping", &mut record);
        assert_eq!(record.len(), 13 + 8 + 4 + 8);
        let mut forged = record.clone();
        assert_eq!((server.open(&mut record), &record[..4]), (Some(4), &b"ping"[..]));
        forged[25] ^= 1;
        assert_eq!(server.open(&mut forged), None);
        assert_eq!(server.open(&mut [23, 0xfe, 0xfd]), None);
    }

    /// The vector that is known for P_SHA256 of 100 bytes.
    #[test]
    fn secrets_are_derived_as_others_do() {
        let secret = [0x9b, 0xbe, 0x43, 0x6b, 0xa9, 0x40, 0xf0, 0x17, 0xb1, 0x76, 0x52, 0x84, 0x9a, 0x71, 0xdb, 0x35];
        let seed = [0xa0, 0xba, 0x9f, 0x93, 0x6c, 0xda, 0x31, 0x18, 0x27, 0xa6, 0xf7, 0x96, 0xff, 0xd5, 0x19, 0x8c];
        let mut out = [0; 100];
        derive(&secret, "test label", &seed, &mut out);
        assert_eq!(out[..8], [0xe3, 0xf2, 0x29, 0xba, 0x72, 0x7b, 0xe1, 0x7b]);
        assert_eq!(out[96..], [0x87, 0x34, 0x7b, 0x66]);
    }
}
