//! Binding: one socket per worker on one address by SO_REUSEPORT.

use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Connections that wait for `accept`; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;
/// Receive and send buffer of a datagram socket, bytes: a burst of 64 batches.
const DATAGRAM_BUFFER: usize = 4 << 20;

/// Why an address could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// What the kernel said.
    pub cause: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot listen on {}: {}", self.address, self.cause)
    }
}

impl std::error::Error for BindError {}

/// The sockets of one address, one per worker, and the address with its real port.
#[derive(Debug)]
pub struct Bound<S> {
    /// The address; port 0 was replaced by what the kernel chose.
    pub address: SocketAddr,
    /// One socket per worker.
    pub sockets: Vec<S>,
}

/// Listening sockets for `workers` workers.
///
/// # Errors
/// The address is in use, not ours, or not allowed; nothing stays bound.
pub fn bind_tcp(address: SocketAddr, workers: usize) -> Result<Bound<TcpListener>, BindError> {
    bind(address, workers, Type::STREAM)
}

/// Datagram sockets for `workers` workers.
///
/// # Errors
/// As [`bind_tcp`].
pub fn bind_udp(address: SocketAddr, workers: usize) -> Result<Bound<UdpSocket>, BindError> {
    bind(address, workers, Type::DGRAM)
}

fn bind<S: From<Socket>>(address: SocketAddr, workers: usize, kind: Type) -> Result<Bound<S>, BindError> {
    let failed = |cause| BindError { address, cause };
    if address.port() != 0 {
        // With SO_REUSEPORT two gateways of one user would silently share the port:
        // the first bind goes without, and finds out.
        drop(socket(address, kind, false).map_err(failed)?);
    }
    let first = socket(address, kind, true).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?.as_socket().unwrap_or(address);
    let mut sockets = vec![S::from(first)];
    for _ in 1..workers {
        sockets.push(S::from(socket(bound, kind, true).map_err(failed)?));
    }
    Ok(Bound { address: bound, sockets })
}

fn socket(address: SocketAddr, kind: Type, shared: bool) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind.nonblocking(), Some(protocol))?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two listeners: whoever wants both names both.
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        socket.set_reuse_address(true)?;
    }
    // Groups that others of this machine have joined are none of ours: what is sent to many is
    // not answered, or one datagram would have all of them answer whoever it names.
    #[cfg(target_os = "linux")]
    match (kind, address) {
        (Type::DGRAM, SocketAddr::V4(_)) => socket.set_multicast_all_v4(false)?,
        // Linux before 4.20 does not know it.
        (Type::DGRAM, SocketAddr::V6(_)) => drop(socket.set_multicast_all_v6(false)),
        _ => {}
    }
    if shared {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&address.into())?;
    if !shared {
        return Ok(socket);
    }
    if kind == Type::STREAM {
        // Accepted sockets inherit it: what is written is a whole answer and must not wait.
        socket.set_tcp_nodelay(true)?;
        socket.listen(BACKLOG)?;
    } else {
        // The kernel may grant less; a smaller buffer only means earlier loss under a burst.
        let _ = socket.set_recv_buffer_size(DATAGRAM_BUFFER);
        let _ = socket.set_send_buffer_size(DATAGRAM_BUFFER);
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn every_worker_gets_a_socket_on_the_same_port() {
        let bound = bind_tcp(loopback(0), 3).expect("a free port");
        assert_ne!(bound.address.port(), 0);
        let ports: Vec<u16> = bound.sockets.iter().map(|s| s.local_addr().expect("bound").port()).collect();
        assert_eq!(ports, vec![bound.address.port(); 3]);
    }

    #[test]
    fn a_second_gateway_on_the_same_port_is_refused() {
        let tcp = bind_tcp(loopback(0), 2).expect("a free port");
        let again = bind_tcp(tcp.address, 2).expect_err("in use");
        assert_eq!(again.cause.kind(), io::ErrorKind::AddrInUse);
        let udp = bind_udp(loopback(0), 2).expect("a free port");
        assert!(bind_udp(udp.address, 1).is_err());
    }
}
