//! Which certificate a client is shown: by the name it asks for, exact before
//! wildcard; else the first one.

use crate::certificate::Certificate;
use crate::names::{Names, parent};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

thread_local! {
    // A connection does not tell which certificate it showed; it resolves within the
    // call that hands it the ClientHello, on the caller's thread.
    static SHOWN: RefCell<Option<Arc<Names>>> = const { RefCell::new(None) };
}

/// Takes what the resolver left behind on this thread: the shown certificate's names.
pub(crate) fn shown() -> Option<Arc<Names>> {
    SHOWN.take()
}

type Table = HashMap<Box<str>, Vec<usize>, foldhash::fast::RandomState>;

#[derive(Debug)]
pub(crate) struct ByName {
    certificates: Vec<Certificate>,
    exact: Table,
    wildcards: Table,
}

impl ByName {
    pub(crate) fn new(certificates: Vec<Certificate>) -> Self {
        let (mut exact, mut wildcards) = (Table::default(), Table::default());
        for (index, certificate) in certificates.iter().enumerate() {
            for name in &certificate.names.exact {
                exact.entry(name.clone()).or_default().push(index);
            }
            for name in &certificate.names.wildcards {
                wildcards.entry(name.clone()).or_default().push(index);
            }
        }
        ByName { certificates, exact, wildcards }
    }

    /// The best of those for the name that the client can verify: a name may have an
    /// RSA and an ECDSA certificate.
    fn choose(&self, name: Option<&str>, hello: &ClientHello<'_>) -> Option<&Certificate> {
        let fits = |index: &&usize| {
            let key = &self.certificates[**index].key;
            key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let named = name.and_then(|name| {
            let exact = self.exact.get(name);
            let found = exact.or_else(|| self.wildcards.get(parent(name)?))?;
            found.iter().find(fits).or(found.first())
        });
        let index = named.copied().or_else(|| (0..self.certificates.len()).find(|index| fits(&index)));
        self.certificates.get(index.unwrap_or(0))
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let chosen = self.choose(name.as_deref(), &hello)?;
        SHOWN.set(Some(Arc::clone(&chosen.names)));
        Some(Arc::clone(&chosen.key))
    }
}
