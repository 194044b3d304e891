//! Whether a datagram was sent to a group: a socket that is bound to any address gets what
//! is broadcast, too, and only the kernel's word beside the datagram (IP_PKTINFO) tells.
#![allow(unsafe_code)]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, RawFd};

/// Room for one IP_PKTINFO, aligned as its header wants.
pub(crate) type Control = [u64; 8];

/// Bytes of it.
pub(crate) const CONTROL_LEN: usize = size_of::<Control>();

/// Asks the kernel to say where datagrams of IPv4 were sent to, where that can differ:
/// a socket of one address gets what is for that address only.
pub(crate) fn ask_for_destinations(socket: &std::net::UdpSocket) -> io::Result<bool> {
    let local = socket.local_addr()?;
    // Those of IPv6 have no broadcasts, and take no datagrams of IPv4.
    if local.is_ipv6() || !local.ip().is_unspecified() {
        return Ok(false);
    }
    let on: libc::c_int = 1;
    // SAFETY: the option reads one int.
    let set = unsafe {
        let len = size_of::<libc::c_int>() as libc::socklen_t;
        libc::setsockopt(socket.as_raw_fd() as RawFd, libc::IPPROTO_IP, libc::IP_PKTINFO, (&raw const on).cast(), len)
    };
    if set == 0 { Ok(true) } else { Err(io::Error::last_os_error()) }
}

/// Whether a datagram was for more than this machine: the address that it was sent to is
/// then not the one that an answer would come from.
pub(crate) fn is_to_group(header: &libc::msghdr) -> bool {
    // SAFETY: the kernel wrote `msg_controllen` bytes of messages, which these macros walk.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(own) = message.as_ref() {
            if own.cmsg_level == libc::IPPROTO_IP && own.cmsg_type == libc::IP_PKTINFO {
                let info = libc::CMSG_DATA(message).cast::<libc::in_pktinfo>().read_unaligned();
                return info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr;
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
    false
}
