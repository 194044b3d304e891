//! One worker's configuration of the library. Keys of certificates are parsed for each
//! worker: the library changes them while it signs.

use std::ffi::c_int;
use std::rc::Rc;

use mbedtls_rs_sys as mbed;

use super::callbacks::{Io, Prover, find_key, known_cookie, no_cookie, random, verify};
use crate::record::CID_LEN;
use crate::{ClientAuthMode, DtlsError, Terms};

/// First and longest wait of a handshake's flight, milliseconds (RFC 6347 section 4.2.4.1).
const FLIGHT_MS: (u32, u32) = (1_000, 16_000);

/// Authenticated encryption only, those of RFC 7252 section 9.1.3 among them.
const SUITES: [c_int; 13] = [
    mbed::MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 as c_int,
    mbed::MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 as c_int,
    mbed::MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 as c_int,
    mbed::MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_CCM as c_int,
    mbed::MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 as c_int,
    mbed::MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 as c_int,
    mbed::MBEDTLS_TLS_PSK_WITH_AES_128_CCM_8 as c_int,
    mbed::MBEDTLS_TLS_PSK_WITH_AES_128_CCM as c_int,
    mbed::MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256 as c_int,
    mbed::MBEDTLS_TLS_PSK_WITH_AES_256_CCM as c_int,
    mbed::MBEDTLS_TLS_PSK_WITH_AES_256_GCM_SHA384 as c_int,
    mbed::MBEDTLS_TLS_PSK_WITH_AES_256_CCM_8 as c_int,
    0,
];

/// What sessions point at; pinned by its `Rc`, and dropped after the last of them.
pub(crate) struct Context {
    pub(super) config: mbed::mbedtls_ssl_config,
    chain: mbed::mbedtls_x509_crt,
    key: mbed::mbedtls_pk_context,
    authorities: mbed::mbedtls_x509_crt,
    revocations: mbed::mbedtls_x509_crl,
    pub(super) prover: Box<Prover>,
    pub(super) io: Io,
    pub(super) uses_connection_id: bool,
    asks_for_key: bool,
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Context")
    }
}

/// Whether the library takes what the files say.
pub(crate) fn check(terms: &Terms) -> Result<(), DtlsError> {
    Context::new(terms).map(|_| ())
}

pub(crate) fn no_randomness() -> DtlsError {
    invalid("the system's source of randomness", mbed::MBEDTLS_ERR_ENTROPY_SOURCE_FAILED as c_int)
}

fn invalid(what: &str, code: c_int) -> DtlsError {
    DtlsError::Invalid { what: what.to_owned(), code }
}

fn done(what: &str, code: c_int) -> Result<(), DtlsError> {
    if code == 0 { Ok(()) } else { Err(invalid(what, code)) }
}

impl Context {
    pub(crate) fn new(terms: &Terms) -> Result<Rc<Self>, DtlsError> {
        // SAFETY: all-zero bytes are valid for these plain structs, and are what the
        // library's own initialisers write.
        let mut context = unsafe {
            Context {
                config: std::mem::zeroed(),
                chain: std::mem::zeroed(),
                key: std::mem::zeroed(),
                authorities: std::mem::zeroed(),
                revocations: std::mem::zeroed(),
                prover: Box::new(Prover { keys: terms.psk.clone(), given: None.into(), identity: None.into() }),
                io: Io::default(),
                uses_connection_id: terms.plan.connection_id,
                asks_for_key: terms.plan.ask_for_key,
            }
        };
        // SAFETY: each is initialised before it is used.
        unsafe {
            mbed::mbedtls_ssl_config_init(&raw mut context.config);
            mbed::mbedtls_x509_crt_init(&raw mut context.chain);
            mbed::mbedtls_pk_init(&raw mut context.key);
            mbed::mbedtls_x509_crt_init(&raw mut context.authorities);
            mbed::mbedtls_x509_crl_init(&raw mut context.revocations);
        }
        // From here on nothing moves: the configuration points into the same allocation.
        let mut context = Rc::new(context);
        if let Some(own) = Rc::get_mut(&mut context) {
            own.configure(terms)?;
        }
        Ok(context)
    }

    fn configure(&mut self, terms: &Terms) -> Result<(), DtlsError> {
        let config = &raw mut self.config;
        let prover = (&raw mut *self.prover).cast();
        // SAFETY: `config` is initialised; what it is pointed at lives as long as it does.
        unsafe {
            let defaults = mbed::mbedtls_ssl_config_defaults(
                config,
                mbed::MBEDTLS_SSL_IS_SERVER as c_int,
                mbed::MBEDTLS_SSL_TRANSPORT_DATAGRAM as c_int,
                mbed::MBEDTLS_SSL_PRESET_DEFAULT as c_int,
            );
            done("DTLS", defaults)?;
            mbed::mbedtls_ssl_conf_rng(config, Some(random), std::ptr::null_mut());
            mbed::mbedtls_ssl_conf_ciphersuites(config, SUITES.as_ptr());
            mbed::mbedtls_ssl_conf_handshake_timeout(config, FLIGHT_MS.0, FLIGHT_MS.1);
            mbed::mbedtls_ssl_conf_dtls_cookies(config, Some(no_cookie), Some(known_cookie), std::ptr::null_mut());
            if self.uses_connection_id {
                let ignore = mbed::MBEDTLS_SSL_UNEXPECTED_CID_IGNORE as c_int;
                done("the connection id", mbed::mbedtls_ssl_conf_cid(config, CID_LEN, ignore))?;
            }
            if terms.takes_keys() {
                mbed::mbedtls_ssl_conf_psk_cb(config, Some(find_key), prover);
            }
        }
        self.load_certificate(terms)?;
        self.load_authorities(terms, prover)
    }

    fn load_certificate(&mut self, terms: &Terms) -> Result<(), DtlsError> {
        let Some((chain, key)) = &terms.certificate else { return Ok(()) };
        let pair = terms.plan.certificate.as_ref();
        let path = |of: fn(&crate::PairPlan) -> &String| pair.map_or("", |pair| of(pair).as_str());
        // SAFETY: both end with a NUL, as the library wants PEM to; it keeps copies.
        unsafe {
            let parsed = mbed::mbedtls_x509_crt_parse(&raw mut self.chain, chain.as_ptr(), chain.len());
            done(path(|pair| &pair.cert), parsed)?;
            let parsed = mbed::mbedtls_pk_parse_key(
                &raw mut self.key,
                key.as_ptr(),
                key.len(),
                std::ptr::null(),
                0,
                Some(random),
                std::ptr::null_mut(),
            );
            done(path(|pair| &pair.key), parsed)?;
            let own = mbed::mbedtls_ssl_conf_own_cert(&raw mut self.config, &raw mut self.chain, &raw mut self.key);
            done(path(|pair| &pair.cert), own)
        }
    }

    fn load_authorities(&mut self, terms: &Terms, prover: *mut std::ffi::c_void) -> Result<(), DtlsError> {
        let config = &raw mut self.config;
        let mode = match terms.client_auth {
            None => mbed::MBEDTLS_SSL_VERIFY_NONE,
            Some(ClientAuthMode::Request) => mbed::MBEDTLS_SSL_VERIFY_OPTIONAL,
            Some(ClientAuthMode::Require) => mbed::MBEDTLS_SSL_VERIFY_REQUIRED,
        };
        // SAFETY: as above.
        unsafe {
            mbed::mbedtls_ssl_conf_authmode(config, mode as c_int);
            for (path, pem) in terms.plan.client_auth.iter().flat_map(|auth| &auth.ca).zip(&terms.authorities) {
                let parsed = mbed::mbedtls_x509_crt_parse(&raw mut self.authorities, pem.as_ptr(), pem.len());
                done(path, parsed)?;
            }
            for (path, pem) in terms.plan.client_auth.iter().flat_map(|auth| &auth.crl).zip(&terms.revocations) {
                let parsed = mbed::mbedtls_x509_crl_parse(&raw mut self.revocations, pem.as_ptr(), pem.len());
                done(path, parsed)?;
            }
            if terms.client_auth.is_some() {
                let revocations = match terms.revocations.is_empty() {
                    true => std::ptr::null_mut(),
                    false => &raw mut self.revocations,
                };
                mbed::mbedtls_ssl_conf_ca_chain(config, &raw mut self.authorities, revocations);
                mbed::mbedtls_ssl_conf_verify(config, Some(verify), prover);
            }
        }
        Ok(())
    }

    /// Whether somebody knows keys that are not in the table.
    pub(crate) const fn asks_for_key(&self) -> bool {
        self.asks_for_key
    }

    /// Whether somebody has to be asked for the key of an identity.
    pub(crate) fn lacks_key(&self, identity: &[u8]) -> bool {
        self.asks_for_key && self.prover.keys.find(identity).is_none()
    }

    /// Datagrams that the library wants to be sent.
    pub(crate) fn take_output(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.io.outbound.borrow_mut())
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: initialised in `new`; no session points here any more.
        unsafe {
            mbed::mbedtls_ssl_config_free(&raw mut self.config);
            mbed::mbedtls_x509_crt_free(&raw mut self.chain);
            mbed::mbedtls_pk_free(&raw mut self.key);
            mbed::mbedtls_x509_crt_free(&raw mut self.authorities);
            mbed::mbedtls_x509_crl_free(&raw mut self.revocations);
        }
    }
}
