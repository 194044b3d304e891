//! Sockets of the front: bound so that every worker has its own and two gateways
//! never share a port by accident, batches of datagrams, and admission before
//! anything is read. What comes in is accepted bytes; protocols are not known here.
// What has unsafe calls libc: recvmmsg and sendmmsg in `datagrams`, options of sockets elsewhere.
#![deny(unsafe_code)]

mod admission;
mod bind;
mod datagrams;
mod destination;
mod taken;

pub use admission::{Admission, Permit, Refusal};
pub use bind::{BindError, Bound, bind_tcp, bind_udp};
pub use datagrams::{BATCH_MAX, Datagrams, RECEIVE_MAX};
pub use taken::bytes_acked;

/// Raises the open-file limit to the hard one. Returns the limit now in force.
///
/// # Errors
/// What the kernel said; the old limit then stays.
#[allow(unsafe_code)]
pub fn raise_open_files() -> std::io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls get a valid pointer to a local rlimit.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        limit.rlim_cur = limit.rlim_max;
        if libc::setrlimit(libc::RLIMIT_NOFILE, &limit) != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}
