//! Datagrams in batches: up to 64 by one `recvmmsg`, up to 64 by one `sendmmsg`, or fewer.
//! The buffers belong to the socket and are used again for every batch.
#![allow(unsafe_code)]

use crate::destination::{CONTROL_LEN, Control, ask_for_destinations, is_to_group};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Most datagrams of one system call.
pub const BATCH_MAX: usize = 64;
/// Longest datagram that is read whole, bytes; a longer one is marked truncated.
pub const RECEIVE_MAX: usize = 2_048;

/// Room for a sender's address.
const NAME_LEN: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// One received datagram: who sent it, its bytes, and whether it was cut.
type Received<'a> = (SocketAddr, &'a [u8], bool);

/// A datagram socket with its batches.
pub struct Datagrams {
    socket: UdpSocket,
    inbound: Inbound,
    outbound: Vec<u8>,
    queued: Vec<(SocketAddr, usize)>,
    /// Whether the kernel says where a datagram was sent to.
    says_where: bool,
    /// Datagrams of one system call.
    batch: usize,
}

/// Where a batch is received, with the headers that tell the kernel so: they point at the
/// others, which are never moved nor resized.
struct Inbound {
    bytes: Vec<[u8; RECEIVE_MAX]>,
    senders: Vec<libc::sockaddr_storage>,
    _vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// What the kernel says of each; empty where it is not asked.
    controls: Vec<Control>,
    /// Datagrams of the last batch.
    count: usize,
}

impl Datagrams {
    /// Takes a bound, non-blocking socket into the current runtime; `batch` datagrams go
    /// through a system call, 1 to [`BATCH_MAX`].
    ///
    /// # Errors
    /// What the runtime said.
    pub fn new(socket: std::net::UdpSocket, batch: usize) -> io::Result<Self> {
        let says_where = ask_for_destinations(&socket)?;
        let batch = batch.clamp(1, BATCH_MAX);
        Ok(Datagrams {
            socket: UdpSocket::from_std(socket)?,
            inbound: Inbound::new(says_where, batch),
            outbound: Vec::new(),
            queued: Vec::new(),
            says_where,
            batch,
        })
    }

    /// Takes `batch` datagrams by one system call from now on. What the last one has brought
    /// is gone where that changes anything.
    pub fn set_batch(&mut self, batch: usize) {
        let batch = batch.clamp(1, BATCH_MAX);
        if std::mem::replace(&mut self.batch, batch) != batch {
            self.inbound = Inbound::new(self.says_where, batch);
        }
    }

    /// Receives one batch: how many datagrams there are now; read them by [`Self::received`].
    ///
    /// # Errors
    /// What the kernel said.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            std::task::ready!(self.socket.poll_recv_ready(cx))?;
            let (socket, inbound, batch) = (&self.socket, &mut self.inbound, self.batch);
            let mut last = None;
            let result = socket.try_io(Interest::READABLE, || match inbound.receive(socket.as_raw_fd())? {
                count if count == batch => Ok(count),
                // A batch that is not full has emptied the socket: the next look waits for an
                // event instead of asking the kernel once more.
                count => {
                    last = Some(count);
                    Err(io::ErrorKind::WouldBlock.into())
                }
            });
            match (result, last) {
                (_, Some(count)) => return Poll::Ready(Ok(count)),
                (Err(error), None) if error.kind() == io::ErrorKind::WouldBlock => {}
                (result, None) => return Poll::Ready(result),
            }
        }
    }

    /// The datagram at `index` of the last batch; `None` where its sender's family is unknown.
    pub fn received(&self, index: usize) -> Option<Received<'_>> {
        self.inbound.datagram(index)
    }

    /// Whether the datagram at `index` of the last batch was broadcast, as far as the socket can
    /// get such at all.
    pub fn is_to_group(&self, index: usize) -> bool {
        let headers = &self.inbound.headers[..self.inbound.count];
        !self.inbound.controls.is_empty() && headers.get(index).is_some_and(|header| is_to_group(&header.msg_hdr))
    }

    /// Puts a datagram that `write` appends into the next batch.
    pub fn queue(&mut self, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.outbound.len();
        write(&mut self.outbound);
        if self.outbound.len() > before {
            self.queued.push((to, self.outbound.len()));
        }
    }

    /// Whether datagrams wait to be sent.
    pub fn has_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Sends what was queued, and returns how many the kernel did not take: a
    /// datagram socket whose buffer is full loses, as the network would.
    pub fn flush(&mut self) -> usize {
        let (mut start, mut sent) = (0, 0);
        while sent < self.queued.len() {
            let batch = &self.queued[sent..(sent + self.batch).min(self.queued.len())];
            let taken = send(self.socket.as_raw_fd(), batch, (&self.outbound, start));
            if taken == 0 {
                break;
            }
            start = batch[taken - 1].1;
            sent += taken;
        }
        let lost = self.queued.len() - sent;
        self.queued.clear();
        self.outbound.clear();
        // A burst must not keep its memory.
        self.outbound.shrink_to(BATCH_MAX * RECEIVE_MAX);
        lost
    }

    /// The bound address.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Inbound {
    fn new(says_where: bool, batch: usize) -> Self {
        let mut bytes = vec![[0; RECEIVE_MAX]; batch];
        // SAFETY: all-zero bytes are a valid sockaddr_storage.
        let mut senders = vec![unsafe { MaybeUninit::<libc::sockaddr_storage>::zeroed().assume_init() }; batch];
        let vector =
            |part: &mut [u8; RECEIVE_MAX]| libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: RECEIVE_MAX };
        let mut vectors: Vec<libc::iovec> = bytes.iter_mut().map(vector).collect();
        let header = |(sender, vector): (&mut libc::sockaddr_storage, &mut libc::iovec)| {
            // SAFETY: all-zero bytes are a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
            header.msg_hdr.msg_name = (&raw mut *sender).cast();
            header.msg_hdr.msg_namelen = NAME_LEN;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        };
        let mut headers: Vec<libc::mmsghdr> = senders.iter_mut().zip(&mut vectors).map(header).collect();
        let mut controls: Vec<Control> = if says_where { vec![[0; 8]; batch] } else { Vec::new() };
        for (header, control) in headers.iter_mut().zip(&mut controls) {
            header.msg_hdr.msg_control = control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LEN as _;
        }
        Inbound { bytes, senders, _vectors: vectors, headers, controls, count: 0 }
    }

    fn receive(&mut self, fd: i32) -> io::Result<usize> {
        // The kernel wrote how long each name was, and what it says beside it.
        let control_len = if self.controls.is_empty() { 0 } else { CONTROL_LEN };
        for header in &mut self.headers[..self.count] {
            header.msg_hdr.msg_namelen = NAME_LEN;
            header.msg_hdr.msg_controllen = control_len as _;
        }
        self.count = 0;
        // SAFETY: every header points at a buffer and an address that live as long as it.
        let count = unsafe {
            let (headers, batch) = (self.headers.as_mut_ptr(), self.headers.len() as u32);
            libc::recvmmsg(fd, headers, batch, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        self.count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        Ok(self.count)
    }

    fn datagram(&self, index: usize) -> Option<Received<'_>> {
        let header = self.headers[..self.count].get(index)?;
        let bytes = self.bytes[index].get(..header.msg_len as usize)?;
        let is_cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        Some((address_of(&self.senders[index])?, bytes, is_cut))
    }
}

/// Sends `batch`, whose bytes stand in `bytes.0` from `bytes.1` on; how many were taken.
fn send(fd: i32, batch: &[(SocketAddr, usize)], bytes: (&[u8], usize)) -> usize {
    let mut vectors = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH_MAX];
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH_MAX];
    let mut names = [const { MaybeUninit::<socket2::SockAddr>::uninit() }; BATCH_MAX];
    let mut start = bytes.1;
    for (index, (to, end)) in batch.iter().enumerate() {
        let part = &bytes.0[start..*end];
        start = *end;
        let vector = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
        let name = names[index].write(socket2::SockAddr::from(*to));
        // SAFETY: all-zero bytes are a valid mmsghdr.
        let header = &mut headers[index].write(unsafe { MaybeUninit::zeroed().assume_init() }).msg_hdr;
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
        header.msg_iov = vectors[index].write(vector);
        header.msg_iovlen = 1;
    }
    // SAFETY: `batch.len()` headers were filled above and point at live memory; the kernel only reads.
    let sent = unsafe { libc::sendmmsg(fd, headers.as_mut_ptr().cast(), batch.len() as u32, libc::MSG_DONTWAIT) };
    usize::try_from(sent).unwrap_or(0)
}

fn address_of(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in.
            let v4 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in>() };
            Some(SocketAddr::from((Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)), u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that the kernel wrote a sockaddr_in6.
            let v6 = unsafe { &*(&raw const *storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broadcast_is_told_from_what_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bound = crate::bind_udp(SocketAddr::from(([0, 0, 0, 0], 0)), 1).expect("a free port");
            let port = bound.address.port();
            let mut datagrams =
                Datagrams::new(bound.sockets.into_iter().next().expect("one"), BATCH_MAX).expect("taken");
            let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
            client.set_broadcast(true).expect("allowed");
            let mut seen = Vec::new();
            // Each batch uses the room of the one before again.
            for to in ["127.0.0.1", "127.255.255.255", "127.0.0.9", "127.255.255.255"] {
                client.send_to(b"x", (to, port)).expect("sent");
                let receiving = std::future::poll_fn(|cx| datagrams.poll_receive(cx));
                let received = tokio::time::timeout(std::time::Duration::from_secs(5), receiving).await;
                let count = received.expect("in time").expect("received");
                seen.extend((0..count).map(|index| datagrams.is_to_group(index)));
            }
            assert_eq!(seen, [false, true, false, true]);
        });
    }

    /// Sends three datagrams and echoes them; by how many calls they came.
    async fn echo_three(datagrams: &mut Datagrams) -> usize {
        let server = datagrams.local_address().expect("bound");
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("a free port");
        for text in ["one", "two", "three"] {
            client.send_to(text.as_bytes(), server).expect("sent");
        }
        let (mut calls, mut received) = (0, 0);
        while received < 3 {
            let receiving = std::future::poll_fn(|cx| datagrams.poll_receive(cx));
            let count = tokio::time::timeout(std::time::Duration::from_secs(5), receiving).await;
            let count = count.expect("in time").expect("received");
            (calls, received) = (calls + usize::from(count > 0), received + count);
            for index in 0..count {
                let (from, bytes, cut) = datagrams.received(index).map(|(f, b, c)| (f, b.to_vec(), c)).expect("there");
                assert!(!cut);
                datagrams.queue(from, |out| out.extend_from_slice(&bytes));
            }
        }
        assert_eq!(datagrams.flush(), 0);
        let mut buffer = [0; 16];
        let mut echo = || client.recv(&mut buffer).map(|len| String::from_utf8_lossy(&buffer[..len]).into_owned());
        assert_eq!([(); 3].map(|()| echo().expect("an echo")), ["one", "two", "three"]);
        calls
    }

    #[test]
    fn a_batch_comes_in_by_one_call_and_smaller_ones_by_more() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let bound = crate::bind_udp(SocketAddr::from(([127, 0, 0, 1], 0)), 1).expect("a free port");
            let mut datagrams =
                Datagrams::new(bound.sockets.into_iter().next().expect("one"), BATCH_MAX).expect("taken");
            assert_eq!(echo_three(&mut datagrams).await, 1);
            for (batch, calls) in [(1, 3), (2, 2), (BATCH_MAX, 1), (0, 3), (usize::MAX, 1)] {
                datagrams.set_batch(batch);
                assert_eq!(echo_three(&mut datagrams).await, calls, "batches of {batch}");
            }
        });
    }
}
