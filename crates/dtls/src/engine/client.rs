//! A client on the same library, for tests: the other end of a session.

use std::ffi::c_int;
use std::ptr::{null, null_mut};

use mbedtls_rs_sys as mbed;

use super::callbacks::{Io, Timer, random, receive, send, set_timer, timer_state};

/// A client whose datagrams are carried by hand.
pub(crate) struct Client {
    config: Box<mbed::mbedtls_ssl_config>,
    ssl: Box<mbed::mbedtls_ssl_context>,
    io: Box<Io>,
    timer: Box<Timer>,
}

impl Client {
    pub(crate) fn new((identity, key): (&str, &[u8]), connection_id: bool) -> Client {
        // SAFETY: as in `context` and `session`; everything is boxed and outlives the client.
        unsafe {
            let mut client = Client {
                config: Box::new(std::mem::zeroed()),
                ssl: Box::new(std::mem::zeroed()),
                io: Box::default(),
                timer: Box::default(),
            };
            let (config, ssl) = (&raw mut *client.config, &raw mut *client.ssl);
            mbed::mbedtls_ssl_config_init(config);
            mbed::mbedtls_ssl_init(ssl);
            let datagram = mbed::MBEDTLS_SSL_TRANSPORT_DATAGRAM as c_int;
            assert_eq!(mbed::mbedtls_ssl_config_defaults(config, 0, datagram, 0), 0);
            mbed::mbedtls_ssl_conf_rng(config, Some(random), null_mut());
            mbed::mbedtls_ssl_conf_authmode(config, mbed::MBEDTLS_SSL_VERIFY_NONE as c_int);
            if !key.is_empty() {
                let set =
                    mbed::mbedtls_ssl_conf_psk(config, key.as_ptr(), key.len(), identity.as_ptr(), identity.len());
                assert_eq!(set, 0);
            }
            assert_eq!(mbed::mbedtls_ssl_conf_cid(config, 0, 0), 0);
            assert_eq!(mbed::mbedtls_ssl_setup(ssl, config), 0);
            mbed::mbedtls_ssl_set_cid(ssl, c_int::from(connection_id), null(), 0);
            mbed::mbedtls_ssl_set_bio(ssl, (&raw mut *client.io).cast(), Some(send), Some(receive), None);
            mbed::mbedtls_ssl_set_timer_cb(ssl, (&raw mut *client.timer).cast(), Some(set_timer), Some(timer_state));
            client
        }
    }

    /// Makes its datagrams no longer than that from now on: messages go in fragments.
    pub(crate) fn limit_datagrams(&mut self, bytes: u16) {
        // SAFETY: the client is set up.
        unsafe { mbed::mbedtls_ssl_set_mtu(&raw mut *self.ssl, bytes) };
    }

    pub(crate) fn take_output(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.io.outbound.borrow_mut())
    }

    /// Goes on with the handshake; whether it is done.
    pub(crate) fn shake_hands(&mut self, datagram: &[u8]) -> Result<bool, c_int> {
        self.io.inbound.set((datagram.as_ptr(), datagram.len()));
        // SAFETY: the client is set up.
        let code = unsafe { mbed::mbedtls_ssl_handshake(&raw mut *self.ssl) };
        self.io.inbound.set((null(), 0));
        match code {
            0 => Ok(true),
            mbed::MBEDTLS_ERR_SSL_WANT_READ => Ok(false),
            code => Err(code),
        }
    }

    pub(crate) fn write(&mut self, plaintext: &[u8]) -> Vec<u8> {
        // SAFETY: the client is set up.
        let written = unsafe { mbed::mbedtls_ssl_write(&raw mut *self.ssl, plaintext.as_ptr(), plaintext.len()) };
        assert_eq!(usize::try_from(written), Ok(plaintext.len()));
        self.take_output().pop().expect("a record")
    }

    /// Says goodbye.
    pub(crate) fn close(&mut self) -> Vec<u8> {
        // SAFETY: the client is set up.
        assert_eq!(unsafe { mbed::mbedtls_ssl_close_notify(&raw mut *self.ssl) }, 0);
        self.take_output().pop().expect("an alert")
    }

    /// Begins another handshake within the session.
    pub(crate) fn renegotiate(&mut self) -> Vec<u8> {
        // SAFETY: the client is set up; its configuration is its own.
        let code = unsafe {
            mbed::mbedtls_ssl_conf_renegotiation(
                &raw mut *self.config,
                mbed::MBEDTLS_SSL_RENEGOTIATION_ENABLED as c_int,
            );
            mbed::mbedtls_ssl_renegotiate(&raw mut *self.ssl)
        };
        assert_eq!(code, mbed::MBEDTLS_ERR_SSL_WANT_READ as c_int);
        self.take_output().pop().expect("a hello")
    }

    pub(crate) fn read(&mut self, datagram: &[u8]) -> Option<Vec<u8>> {
        let mut plaintext = vec![0; 2_048];
        self.io.inbound.set((datagram.as_ptr(), datagram.len()));
        // SAFETY: the client is set up.
        let count = unsafe { mbed::mbedtls_ssl_read(&raw mut *self.ssl, plaintext.as_mut_ptr(), plaintext.len()) };
        self.io.inbound.set((null(), 0));
        plaintext.truncate(usize::try_from(count).ok()?);
        Some(plaintext)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: both are initialised.
        unsafe {
            mbed::mbedtls_ssl_free(&raw mut *self.ssl);
            mbed::mbedtls_ssl_config_free(&raw mut *self.config);
        }
    }
}
