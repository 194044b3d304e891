//! What the library calls: bytes in and out, timers, keys, randomness, and the dates
//! of certificates. Each pointer it hands back is one that `context` or `session` gave
//! it, to something that outlives the call and is used by this thread only.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_uchar, c_void};
use std::time::{SystemTime, UNIX_EPOCH};

use mbedtls_rs_sys as mbed;

use crate::psk::PskTable;

/// What the library reads from and writes to during one call.
#[derive(Default)]
pub(super) struct Io {
    /// The datagram that is being taken; empty once it was read.
    pub(super) inbound: Cell<(*const u8, usize)>,
    pub(super) outbound: RefCell<Vec<Vec<u8>>>,
}

/// An identity and its key.
pub(super) struct Given {
    pub(super) identity: Box<[u8]>,
    pub(super) key: Box<[u8]>,
}

/// Who the peer of the handshake at hand turned out to be.
pub(super) struct Prover {
    pub(super) keys: PskTable,
    /// What was asked for the session at hand. It is good for this identity only: a flight
    /// may claim two, of which the library takes the other one.
    pub(super) given: RefCell<Option<Box<Given>>>,
    pub(super) identity: RefCell<Option<Box<[u8]>>>,
}

/// The timer of a handshake (RFC 6347 section 4.2.4), set by the library.
#[derive(Default)]
pub(super) struct Timer {
    pub(super) now_ms: Cell<u64>,
    intermediate: Cell<u64>,
    last: Cell<Option<u64>>,
}

impl Timer {
    /// Whether the library wants to be called for what it has set.
    pub(super) fn is_over(&self) -> bool {
        self.last.get().is_some_and(|last| last <= self.now_ms.get())
    }
}

pub(super) unsafe extern "C" fn send(io: *mut c_void, bytes: *const c_uchar, len: usize) -> c_int {
    // SAFETY: `io` is the context's; `bytes` are `len` bytes of the library's buffer.
    let (io, bytes) = unsafe { (&*io.cast::<Io>(), std::slice::from_raw_parts(bytes, len)) };
    io.outbound.borrow_mut().push(bytes.to_vec());
    len as c_int
}

pub(super) unsafe extern "C" fn receive(io: *mut c_void, bytes: *mut c_uchar, len: usize) -> c_int {
    // SAFETY: `io` is the context's.
    let io = unsafe { &*io.cast::<Io>() };
    let (from, available) = io.inbound.replace((std::ptr::null(), 0));
    if available == 0 {
        return mbed::MBEDTLS_ERR_SSL_WANT_READ as c_int;
    }
    // A longer datagram than the buffer is no record of ours.
    let count = available.min(len);
    // SAFETY: `inbound` is a live slice for the time of the call; `bytes` has room for `len`.
    unsafe { std::ptr::copy_nonoverlapping(from, bytes, count) };
    count as c_int
}

pub(super) unsafe extern "C" fn set_timer(timer: *mut c_void, intermediate_ms: u32, last_ms: u32) {
    // SAFETY: the timer is boxed by its session.
    let timer = unsafe { &*timer.cast::<Timer>() };
    let now = timer.now_ms.get();
    timer.intermediate.set(now + u64::from(intermediate_ms));
    timer.last.set((last_ms > 0).then(|| now + u64::from(last_ms)));
}

/// -1: not set; 0, 1 and 2: none, the first, both of its times are over.
pub(super) unsafe extern "C" fn timer_state(timer: *mut c_void) -> c_int {
    // SAFETY: the timer is boxed by its session.
    let timer = unsafe { &*timer.cast::<Timer>() };
    match timer.last.get() {
        None => -1,
        Some(_) if timer.is_over() => 2,
        Some(_) => c_int::from(timer.intermediate.get() <= timer.now_ms.get()),
    }
}

pub(super) unsafe extern "C" fn find_key(
    prover: *mut c_void,
    ssl: *mut mbed::mbedtls_ssl_context,
    identity: *const c_uchar,
    len: usize,
) -> c_int {
    // SAFETY: the prover is boxed by the context; `identity` are `len` bytes of a record.
    let (prover, identity) = unsafe { (&*prover.cast::<Prover>(), std::slice::from_raw_parts(identity, len)) };
    let given = prover.given.borrow();
    let asked = || given.as_ref().filter(|given| *given.identity == *identity).map(|given| given.key.clone());
    let Some(key) = prover.keys.find(identity).or_else(asked) else {
        return mbed::MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY as c_int;
    };
    *prover.identity.borrow_mut() = Some(identity.into());
    // SAFETY: `ssl` is the session that asks; the library copies the key.
    unsafe { mbed::mbedtls_ssl_set_hs_psk(ssl, key.as_ptr(), key.len()) }
}

/// A cookie was asked for and checked before the library sees a hello.
pub(super) unsafe extern "C" fn known_cookie(
    _: *mut c_void,
    _: *const c_uchar,
    _: usize,
    _: *const c_uchar,
    _: usize,
) -> c_int {
    0
}

/// The library never asks for a cookie of its own.
pub(super) unsafe extern "C" fn no_cookie(
    _: *mut c_void,
    _: *mut *mut c_uchar,
    _: *mut c_uchar,
    _: *const c_uchar,
    _: usize,
) -> c_int {
    mbed::MBEDTLS_ERR_SSL_INTERNAL_ERROR as c_int
}

/// Adds what the library, built without a clock, cannot see, and notes the name.
pub(super) unsafe extern "C" fn verify(
    prover: *mut c_void,
    certificate: *mut mbed::mbedtls_x509_crt,
    depth: c_int,
    flags: *mut u32,
) -> c_int {
    // SAFETY: the prover is boxed by the context; the certificate and the flags are the library's.
    let (prover, certificate, flags) = unsafe { (&*prover.cast::<Prover>(), &*certificate, &mut *flags) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs() as i64);
    if now > seconds(&certificate.valid_to) {
        *flags |= mbed::MBEDTLS_X509_BADCERT_EXPIRED;
    }
    if now < seconds(&certificate.valid_from) {
        *flags |= mbed::MBEDTLS_X509_BADCERT_FUTURE;
    }
    if depth == 0 {
        *prover.identity.borrow_mut() = common_name(certificate).filter(|_| *flags == 0);
    }
    0
}

/// Seconds since 1970 of a date (Hinnant's days from civil).
fn seconds(time: &mbed::mbedtls_x509_time) -> i64 {
    let (month, day) = (i64::from(time.mon), i64::from(time.day));
    let year = i64::from(time.year) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * 86_400 + i64::from(time.hour) * 3_600 + i64::from(time.min) * 60 + i64::from(time.sec)
}

/// The first common name (2.5.4.3) of a certificate's subject.
fn common_name(certificate: &mbed::mbedtls_x509_crt) -> Option<Box<[u8]>> {
    let mut name: *const mbed::mbedtls_x509_name = &raw const certificate.subject;
    // SAFETY: the list is the library's; each of its buffers has the length it says.
    unsafe {
        while let Some(entry) = name.as_ref() {
            if !entry.oid.p.is_null() && std::slice::from_raw_parts(entry.oid.p, entry.oid.len) == [0x55, 4, 3] {
                return Some(std::slice::from_raw_parts(entry.val.p, entry.val.len).into());
            }
            name = entry.next;
        }
    }
    None
}

pub(super) unsafe extern "C" fn random(_: *mut c_void, bytes: *mut c_uchar, len: usize) -> c_int {
    // SAFETY: `bytes` has room for `len`.
    let bytes = unsafe { std::slice::from_raw_parts_mut(bytes, len) };
    if getrandom::fill(bytes).is_ok() { 0 } else { mbed::MBEDTLS_ERR_ENTROPY_SOURCE_FAILED as c_int }
}

/// PSA_ERROR_INSUFFICIENT_ENTROPY, which is a macro with a cast.
const INSUFFICIENT_ENTROPY: mbed::psa_status_t = -148;

/// What the library's own cryptography asks for randomness.
#[unsafe(no_mangle)]
unsafe extern "C" fn mbedtls_psa_external_get_random(
    _: *mut mbed::mbedtls_psa_external_random_context_t,
    output: *mut u8,
    size: usize,
    length: *mut usize,
) -> mbed::psa_status_t {
    // SAFETY: `output` has room for `size` bytes, `length` for a number.
    unsafe {
        if random(std::ptr::null_mut(), output, size) != 0 {
            return INSUFFICIENT_ENTROPY;
        }
        *length = size;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds_since_1970() {
        let time = |year, mon, day, hour| mbed::mbedtls_x509_time { year, mon, day, hour, min: 0, sec: 1 };
        assert_eq!(seconds(&time(1970, 1, 1, 0)), 1);
        assert_eq!(seconds(&time(2000, 3, 1, 0)), 951_868_801);
        assert_eq!(seconds(&time(2026, 11, 25, 16)), 1_795_622_401);
    }
}
