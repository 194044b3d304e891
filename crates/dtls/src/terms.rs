//! What a listener proves and asks for, read from its files once and shared by workers.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::cookie::CookieKey;
use crate::engine;
use crate::psk::PskTable;
use crate::{ClientAuthMode, DtlsError, DtlsPlan, PskPlan};

/// Loaded terms.
pub struct Terms {
    pub(crate) plan: DtlsPlan,
    pub(crate) psk: PskTable,
    /// The chain and its key, PEM with a closing NUL, as the library wants it.
    pub(crate) certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) authorities: Vec<Vec<u8>>,
    pub(crate) revocations: Vec<Vec<u8>>,
    pub(crate) client_auth: Option<ClientAuthMode>,
    pub(crate) cookies: CookieKey,
}

impl std::fmt::Debug for Terms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.plan.fmt(f)
    }
}

impl Terms {
    /// Reads and checks the files of a plan. Terms whose content is that of `before`
    /// are those, so that sessions do not notice.
    ///
    /// # Errors
    /// What is wrong, or that this build has no DTLS.
    pub fn load(plan: &DtlsPlan, before: Option<&Arc<Terms>>) -> Result<Arc<Terms>, DtlsError> {
        let pem = |path: &String| match std::fs::read(path) {
            Ok(mut bytes) => {
                bytes.push(0);
                Ok(bytes)
            }
            Err(cause) => Err(DtlsError::File { path: path.clone(), cause }),
        };
        let pair = plan.certificate.as_ref();
        let certificate = pair.map(|pair| Ok::<_, DtlsError>((pem(&pair.cert)?, pem(&pair.key)?))).transpose()?;
        let authorities = plan.client_auth.iter().flat_map(|auth| &auth.ca).map(pem).collect::<Result<_, _>>()?;
        let revocations = plan.client_auth.iter().flat_map(|auth| &auth.crl).map(pem).collect::<Result<_, _>>()?;
        let fresh = |before: &&Arc<Terms>| {
            before.plan == *plan
                && before.certificate == certificate
                && before.authorities == authorities
                && before.revocations == revocations
        };
        if let Some(before) = before.filter(fresh) {
            return Ok(Arc::clone(before));
        }
        let terms = Terms {
            psk: PskTable::new(&plan.psk),
            client_auth: plan.client_auth.as_ref().map(|auth| auth.mode),
            cookies: match before {
                Some(before) => before.cookies,
                None => CookieKey::random().map_err(|_| engine::no_randomness())?,
            },
            plan: plan.clone(),
            certificate,
            authorities,
            revocations,
        };
        if !terms.takes_keys() && terms.certificate.is_none() {
            return Err(DtlsError::NothingToProve);
        }
        engine::check(&terms)?;
        Ok(Arc::new(terms))
    }

    /// What nobody has who has not all of this listener's secrets, and what changes with whom
    /// it believes. `None`: it has none of its own.
    pub(crate) fn secret(&self) -> Option<[u8; 32]> {
        if self.plan.psk.is_empty() && self.certificate.is_none() {
            return None;
        }
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        };
        for PskPlan { identity, key_hex, derived } in &self.plan.psk {
            add(identity.as_bytes());
            add(key_hex.as_bytes());
            add(&[u8::from(*derived)]);
        }
        add(b"files");
        let pair = self.certificate.iter().flat_map(|(chain, key)| [chain, key]);
        pair.chain(&self.authorities).for_each(|file| add(file));
        add(b"revoked");
        self.revocations.iter().for_each(|file| add(file));
        add(format!("{:?} {}", self.client_auth, self.plan.connection_id).as_bytes());
        Some(hash.finalize().into())
    }

    /// Whether clients may come with a pre-shared key.
    pub(crate) fn takes_keys(&self) -> bool {
        self.plan.ask_for_key || !self.psk.is_empty()
    }
}

#[cfg(all(test, not(feature = "mbedtls")))]
mod tests {
    use super::*;
    use crate::PskPlan;

    #[test]
    fn a_build_without_the_library_says_what_to_install() {
        let psk = vec![PskPlan { identity: "a".into(), key_hex: "00".into(), derived: false }];
        let plan = DtlsPlan { psk, certificate: None, client_auth: None, connection_id: true, ask_for_key: false };
        let refused = Terms::load(&plan, None).expect_err("no library").to_string();
        assert!(refused.contains("clang, cmake and ninja"), "{refused}");
    }
}
