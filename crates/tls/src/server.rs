//! How a listener speaks TLS: from the plan and the files it names to one immutable
//! set of terms. Connections keep the terms they began with.

use crate::TlsError;
use crate::certificate::Certificate;
use crate::peer::UserFrom;
use crate::pem::File;
use crate::provider::{provider, ticketer};
use crate::resolver::ByName;
use crate::version1::AnyVersion;
use foldhash::quality::FixedState;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use serde::Deserialize;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

/// A certificate chain and its private key, PEM files.
#[derive(Deserialize, Debug, Clone, Hash, PartialEq, Eq)]
pub struct PairPlan {
    /// The chain, the server's own certificate first.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

/// The oldest version that is spoken.
#[derive(Deserialize, Debug, Clone, Copy, Hash, PartialEq, Eq)]
pub enum VersionPlan {
    /// TLS 1.2 and 1.3.
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 alone.
    #[serde(rename = "1.3")]
    Tls13,
}

impl VersionPlan {
    pub(crate) fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            VersionPlan::Tls12 => &ALL,
            VersionPlan::Tls13 => &ALL[..1],
        }
    }
}

/// Whether a client has to show a certificate.
#[derive(Deserialize, Debug, Clone, Copy, Hash, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub enum ClientAuthMode {
    /// It may; one that is shown must be valid.
    Request,
    /// It must.
    Require,
}

/// Whom client certificates are believed from.
#[derive(Deserialize, Debug, Clone, Hash, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientAuthPlan {
    /// Files of trust anchors.
    pub ca: Vec<String>,
    /// Files of revocation lists; where there is one, each certificate of a chain needs its issuer's.
    pub crl: Vec<String>,
    /// Request or require.
    pub mode: ClientAuthMode,
    /// What of a certificate is the user's name; `None`: it names none.
    #[serde(default)]
    pub user: Option<UserFrom>,
}

/// TLS of a listener as the plan carries it.
#[derive(Deserialize, Debug, Clone, Hash, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ServerPlan {
    /// The first one is shown where no name matches.
    pub certificates: Vec<PairPlan>,
    /// 1.2 or 1.3.
    pub min_version: VersionPlan,
    /// `None`: no certificate is asked for.
    pub client_auth: Option<ClientAuthPlan>,
    /// Whether sessions may be resumed.
    pub session_tickets: bool,
    /// In the order of preference.
    pub alpn: Vec<String>,
}

/// When a certificate ends.
#[derive(Debug, Clone)]
pub struct Expiry {
    /// Its first name, or its file.
    pub name: Box<str>,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// Everything that a listener's handshakes need.
#[derive(Debug)]
pub struct ServerTerms {
    pub(crate) config: Arc<ServerConfig>,
    /// The certificates' ends.
    pub expiries: Vec<Expiry>,
    /// When the first of the revocation lists ends, seconds since 1970: no client is believed from then on.
    pub revocations_end: Option<i64>,
    /// What of a client's certificate is the user's name.
    pub user_from: Option<UserFrom>,
    content: u64,
    client_auth: u64,
    ticketer: Option<Arc<dyn ProducesTickets>>,
}

/// Compared within one process only.
fn hash(value: &impl Hash) -> u64 {
    FixedState::with_seed(0).hash_one(value)
}

impl ServerTerms {
    /// Reads every file and checks that they fit. Where nothing changed since `before` it is that one.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(plan: &ServerPlan, before: Option<&Arc<ServerTerms>>) -> Result<Arc<ServerTerms>, TlsError> {
        let read = |paths: &[String]| paths.iter().map(|path| File::read(path)).collect::<Result<Vec<_>, _>>();
        let mut pairs = Vec::new();
        for PairPlan { cert, key } in &plan.certificates {
            pairs.push((File::read(cert)?, File::read(key)?));
        }
        let (ca, crl) = match &plan.client_auth {
            Some(auth) => (read(&auth.ca)?, read(&auth.crl)?),
            None => Default::default(),
        };
        let client_auth = hash(&(&plan.client_auth, &ca, &crl));
        let content = hash(&(plan, &pairs, client_auth));
        if let Some(same) = before.filter(|before| before.content == content) {
            return Ok(Arc::clone(same));
        }
        let mut certificates = Vec::new();
        for (cert, key) in &pairs {
            certificates.push(Certificate::new(cert, key)?);
        }
        if certificates.is_empty() {
            return Err(TlsError::new("tls.certificates", "names no certificate"));
        }
        let expiries = certificates.iter().map(|certificate| certificate.expiry.clone()).collect();
        let builder = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(plan.min_version.versions())
            .map_err(|cause| TlsError::new("tls.minVersion", cause))?;
        let builder = match &plan.client_auth {
            None => builder.with_no_client_auth(),
            Some(auth) => builder.with_client_cert_verifier(verifier(auth, &ca, &crl)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName::new(certificates)));
        config.alpn_protocols = plan.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A resumed session is not asked for its certificate again, so tickets end with
        // the trust that they were given under.
        let kept = before.filter(|before| before.client_auth == client_auth).and_then(|before| before.ticketer.clone());
        let ticketer = match (plan.session_tickets, kept) {
            (false, _) => None,
            (true, Some(kept)) => Some(kept),
            (true, None) => Some(ticketer().map_err(|cause| TlsError::new("tls.sessionTickets", cause))?),
        };
        match &ticketer {
            Some(ticketer) => config.ticketer = Arc::clone(ticketer),
            None => config.send_tls13_tickets = 0,
        }
        Ok(Arc::new(ServerTerms {
            config: Arc::new(config),
            expiries,
            revocations_end: revocations_end(&crl)?,
            user_from: plan.client_auth.as_ref().and_then(|auth| auth.user),
            content,
            client_auth,
            ticketer,
        }))
    }
}

/// When the first list ends (RFC 5280 section 5.1.2.5).
fn revocations_end(files: &[File]) -> Result<Option<i64>, TlsError> {
    let mut first: Option<i64> = None;
    for file in files {
        for list in file.crls()? {
            let end = CertificateRevocationList::from_der(&list).ok().and_then(|(_, list)| list.next_update());
            first = first.into_iter().chain(end.map(|end| end.timestamp())).min();
        }
    }
    Ok(first)
}

/// Trust anchors out of files.
pub(crate) fn roots(files: &[File]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for file in files {
        for certificate in file.certificates()? {
            roots.add(certificate).map_err(|cause| file.error(format!("holds no usable CA certificate: {cause}")))?;
        }
    }
    Ok(roots)
}

fn verifier(
    auth: &ClientAuthPlan,
    ca: &[File],
    crl: &[File],
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let roots = Arc::new(roots(ca)?);
    let with = |lists| {
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider()))
            .with_crls(lists)
            .enforce_revocation_expiration()
    };
    let mut lists = Vec::new();
    for file in crl {
        let own = file.crls()?;
        // One by one, so that it is known which of them is none.
        with(own.clone()).build().map_err(|cause| {
            file.error(format!("holds a revocation list that is not version 2 with number and issuer: {cause}"))
        })?;
        lists.extend(own);
    }
    let builder = with(lists);
    let builder = match auth.mode {
        ClientAuthMode::Request => builder.allow_unauthenticated(),
        ClientAuthMode::Require => builder,
    };
    let inner = builder.build().map_err(|cause| TlsError::new("tls.clientAuth", cause))?;
    Ok(Arc::new(AnyVersion { inner, roots, has_lists: !crl.is_empty() }))
}
