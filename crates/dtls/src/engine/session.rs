//! One session: a handshake, then records.

use std::ffi::c_int;
use std::rc::Rc;

use mbedtls_rs_sys as mbed;

use super::Progress;
use super::callbacks::{Given, Timer, receive, send, set_timer, timer_state};
use super::context::Context;
use crate::DtlsError;
use crate::record::CID_LEN;

/// Bytes of a datagram that the handshake does not exceed, and no record either.
const MTU: u16 = 1_400;
/// Plaintext of one record.
const RECORD_MAX: usize = 2_048;
/// A session with the certificate of its peer.
const FROZEN_MAX: usize = 8 << 10;
/// What a frozen session begins with, and the random bytes in it.
const FROZEN_HEAD: usize = 8;
const RANDOM: usize = 64;
/// Longest connection id that the library has room for.
const ID_MAX: usize = mbed::MBEDTLS_SSL_CID_OUT_LEN_MAX as usize;
const WANT_READ: c_int = mbed::MBEDTLS_ERR_SSL_WANT_READ as c_int;
const CLOSE_NOTIFY: c_int = mbed::MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY as c_int;

/// A session; what the library keeps of it is boxed and does not move.
pub(crate) struct Session {
    ssl: Box<mbed::mbedtls_ssl_context>,
    timer: Box<Timer>,
    context: Rc<Context>,
    is_open: bool,
    identity: Option<Box<[u8]>>,
    /// The key that was asked for, until the handshake is over.
    given: Option<Box<Given>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

impl Session {
    /// A session before its first hello.
    pub(crate) fn open(context: &Rc<Context>, cid: [u8; CID_LEN]) -> Result<Self, DtlsError> {
        let mut session = Session::new(context)?;
        if context.uses_connection_id {
            let enabled = mbed::MBEDTLS_SSL_CID_ENABLED as c_int;
            // SAFETY: the session is set up; the library copies the id.
            unsafe { mbed::mbedtls_ssl_set_cid(&raw mut *session.ssl, enabled, cid.as_ptr(), CID_LEN) };
        }
        Ok(session)
    }

    /// The session that `freeze` has made bytes of, under the same context.
    pub(crate) fn thaw(context: &Rc<Context>, frozen: &[u8]) -> Result<Self, DtlsError> {
        let mut session = Session::new(context)?;
        if !has_room_for_ids(frozen) {
            let code = mbed::MBEDTLS_ERR_SSL_BAD_INPUT_DATA;
            return Err(DtlsError::Invalid { what: "a frozen session".to_owned(), code });
        }
        // SAFETY: the session is set up and was not used yet, and the connection ids fit.
        let code = unsafe { mbed::mbedtls_ssl_context_load(&raw mut *session.ssl, frozen.as_ptr(), frozen.len()) };
        if code != 0 {
            return Err(DtlsError::Invalid { what: "a frozen session".to_owned(), code });
        }
        session.is_open = true;
        Ok(session)
    }

    /// What the session is, in a few hundred bytes; it is of no more use itself. `None`: it
    /// cannot be frozen now, as it may still have to repeat the end of its handshake.
    pub(crate) fn freeze(&mut self) -> Option<Box<[u8]>> {
        let mut bytes = vec![0; FROZEN_MAX];
        let mut len = 0;
        let raw = &raw mut *self.ssl;
        // SAFETY: the session is set up; the library writes at most what it is told.
        let code = unsafe { mbed::mbedtls_ssl_context_save(raw, bytes.as_mut_ptr(), bytes.len(), &raw mut len) };
        (code == 0).then(|| bytes[..len].into())
    }

    fn new(context: &Rc<Context>) -> Result<Self, DtlsError> {
        // SAFETY: all-zero bytes are valid for this plain struct.
        let mut ssl: Box<mbed::mbedtls_ssl_context> = Box::new(unsafe { std::mem::zeroed() });
        let timer = Box::<Timer>::default();
        let raw = &raw mut *ssl;
        // SAFETY: `raw` is initialised first; what it is pointed at lives as long as the session.
        unsafe {
            mbed::mbedtls_ssl_init(raw);
            let code = mbed::mbedtls_ssl_setup(raw, &raw const context.config);
            let session =
                Session { ssl, timer, context: Rc::clone(context), is_open: false, identity: None, given: None };
            if code != 0 {
                return Err(DtlsError::Invalid { what: "a session".to_owned(), code });
            }
            let io = (&raw const context.io).cast_mut().cast();
            mbed::mbedtls_ssl_set_bio(raw, io, Some(send), Some(receive), None);
            let timer = (&raw const *session.timer).cast_mut().cast();
            mbed::mbedtls_ssl_set_timer_cb(raw, timer, Some(set_timer), Some(timer_state));
            mbed::mbedtls_ssl_set_mtu(raw, MTU);
            Ok(session)
        }
    }

    /// Takes a datagram; plaintext goes to `deliver`.
    pub(crate) fn feed(&mut self, now_ms: u64, datagram: &[u8], deliver: &mut dyn FnMut(&[u8])) -> Progress {
        self.timer.now_ms.set(now_ms);
        self.context.io.inbound.set((datagram.as_ptr(), datagram.len()));
        let progress = if self.is_open { self.read(deliver) } else { self.shake_hands() };
        // The library must not keep what is only lent.
        self.context.io.inbound.set((std::ptr::null(), 0));
        progress
    }

    /// Sends the last flight again where it is time.
    pub(crate) fn handle_timeout(&mut self, now_ms: u64) -> Progress {
        self.timer.now_ms.set(now_ms);
        if self.timer.is_over() && !self.is_open { self.shake_hands() } else { Progress::default() }
    }

    /// The key of an identity that nobody but whoever was asked knows.
    pub(crate) fn give_key(&mut self, identity: Box<[u8]>, key: &[u8]) {
        self.given = Some(Box::new(Given { identity, key: key.into() }));
    }

    fn shake_hands(&mut self) -> Progress {
        // The context is shared with other sessions: lent for this call.
        *self.context.prover.given.borrow_mut() = self.given.take();
        // SAFETY: the session is set up.
        let code = unsafe { mbed::mbedtls_ssl_handshake(&raw mut *self.ssl) };
        let given = self.context.prover.given.take();
        if code == WANT_READ {
            self.given = given;
        }
        if let Some(identity) = self.context.prover.identity.take() {
            self.identity = Some(identity);
        }
        self.is_open = code == 0;
        let is_over = code != 0 && code != WANT_READ;
        Progress { established: self.is_open, ended: is_over.then(|| reason(code)), ..Progress::default() }
    }

    /// Reads what stands in records that have come.
    pub(crate) fn read(&mut self, deliver: &mut dyn FnMut(&[u8])) -> Progress {
        let mut progress = Progress::default();
        let mut plaintext = [0; RECORD_MAX];
        loop {
            // SAFETY: the session is set up, and the buffer has the length that is said.
            let count = unsafe { mbed::mbedtls_ssl_read(&raw mut *self.ssl, plaintext.as_mut_ptr(), plaintext.len()) };
            match usize::try_from(count) {
                Ok(count) if count > 0 => {
                    progress.authentic = true;
                    deliver(&plaintext[..count]);
                }
                _ if count == WANT_READ => return progress,
                // RFC 5246 section 7.2.1: a goodbye is answered by one.
                _ if count == CLOSE_NOTIFY => {
                    self.close();
                    return Progress { ended: Some(reason(count)), ..progress };
                }
                _ => return Progress { ended: Some(reason(count)), ..progress },
            }
        }
    }

    /// Puts a record into the output. `false`: it is too long, or there is no session.
    pub(crate) fn seal(&mut self, now_ms: u64, plaintext: &[u8]) -> bool {
        self.timer.now_ms.set(now_ms);
        // SAFETY: the session is set up; the library reads `len` bytes.
        let written = self
            .is_open
            .then(|| unsafe { mbed::mbedtls_ssl_write(&raw mut *self.ssl, plaintext.as_ptr(), plaintext.len()) });
        written.is_some_and(|written| usize::try_from(written) == Ok(plaintext.len()))
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) {
        if self.is_open {
            // SAFETY: the session is set up.
            unsafe { mbed::mbedtls_ssl_close_notify(&raw mut *self.ssl) };
        }
    }

    /// The identity of the key, or the common name of the certificate, that the peer has proven.
    pub(crate) fn take_identity(&mut self) -> Option<Box<[u8]>> {
        self.identity.take()
    }

    /// Whether the peer sends the connection id that it was given.
    pub(crate) fn has_connection_id(&self) -> bool {
        let mut enabled = 0;
        let ssl = (&raw const *self.ssl).cast_mut();
        // SAFETY: the session is set up; only the flag is asked for.
        let code = unsafe {
            mbed::mbedtls_ssl_get_peer_cid(ssl, &raw mut enabled, std::ptr::null_mut(), std::ptr::null_mut())
        };
        code == 0 && enabled == mbed::MBEDTLS_SSL_CID_ENABLED as c_int
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: initialised in `open`.
        unsafe { mbed::mbedtls_ssl_free(&raw mut *self.ssl) };
    }
}

/// Whether the connection ids of a frozen session are no longer than the library has room for,
/// which it does not ask before it copies them. In front of them stand what wrote it, the length of
/// a session, that and the random bytes of both sides.
fn has_room_for_ids(frozen: &[u8]) -> bool {
    let ids = || {
        let session = frozen.get(FROZEN_HEAD..)?.first_chunk::<4>()?;
        let at = (u32::from_be_bytes(*session) as usize).checked_add(FROZEN_HEAD + 4 + RANDOM)?;
        let own = usize::from(*frozen.get(at)?);
        Some((own, usize::from(*frozen.get(at + 1 + own)?)))
    };
    ids().is_some_and(|(own, others)| own <= ID_MAX && others <= ID_MAX)
}

/// The name for metrics of what ended a session.
const fn reason(code: c_int) -> &'static str {
    match code {
        0 | mbed::MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY | mbed::MBEDTLS_ERR_SSL_CONN_EOF => "dtls-closed",
        mbed::MBEDTLS_ERR_SSL_UNKNOWN_IDENTITY => "dtls-unknown-identity",
        mbed::MBEDTLS_ERR_SSL_TIMEOUT => "dtls-timeout",
        mbed::MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE => "dtls-alert",
        mbed::MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE
        | mbed::MBEDTLS_ERR_SSL_BAD_CERTIFICATE
        | mbed::MBEDTLS_ERR_X509_CERT_VERIFY_FAILED => "dtls-certificate",
        mbed::MBEDTLS_ERR_SSL_INVALID_MAC => "dtls-wrong-key",
        _ => "dtls-failed",
    }
}
