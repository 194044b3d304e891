//! What the other end of a connection has taken: room in a socket's buffer says little of it, since
//! a buffer holds megabytes and tells of room only when a third of it is free.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

/// Bytes that the peer has acknowledged so far. `None`: this system does not tell.
#[cfg(target_os = "linux")]
pub fn bytes_acked(socket: impl AsFd) -> Option<u64> {
    // `tcpi_bytes_acked` of `struct tcp_info`, there since Linux 4.1: behind 8 single bytes, 24 words and
    // two pacing rates.
    const AT: usize = 8 + 24 * 4 + 2 * 8;
    let mut info = [0_u64; 32];
    let mut len = size_of_val(&info) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the kernel writes at most `len` bytes and says how many.
    let got =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len) };
    (got == 0 && len as usize >= AT + 8).then(|| info[AT / 8])
}

/// The same, where nobody tells.
#[cfg(not(target_os = "linux"))]
pub fn bytes_acked(_socket: impl AsFd) -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn what_was_taken_is_counted() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (mut far, _) = listener.accept().expect("accepted");
        let before = bytes_acked(&near).expect("Linux tells");
        near.write_all(&[7; 5_000]).expect("written");
        far.read_exact(&mut [0; 5_000]).expect("read");
        assert_eq!(bytes_acked(&near).expect("Linux tells") - before, 5_000);
    }
}
