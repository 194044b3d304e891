//! How an upstream is spoken to over TLS: whom to believe, what to ask for, what to show.

use crate::TlsError;
use crate::certificate::Certificate;
use crate::itself::OrItself;
use crate::pem::File;
use crate::provider::provider;
use crate::server::{PairPlan, VersionPlan, roots};
use crate::version1::{signed_by_12, signed_by_13};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::Deserialize;
use std::sync::Arc;

/// TLS to an upstream as the plan carries it.
#[derive(Deserialize, Debug, Clone, Hash, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientPlan {
    /// Files of trust anchors; empty: those of the system.
    pub ca: Vec<String>,
    /// The name that is asked for and verified; `None`: the endpoint's address.
    pub server_name: Option<String>,
    /// What is shown where the upstream asks for it.
    pub certificate: Option<PairPlan>,
    /// Whether the upstream must prove who it is.
    pub verify: bool,
    /// 1.2 or 1.3.
    pub min_version: VersionPlan,
    /// In the order of preference.
    pub alpn: Vec<String>,
}

/// Everything that handshakes with an upstream need.
#[derive(Debug)]
pub struct ClientTerms {
    pub(crate) config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl ClientTerms {
    /// Reads every file and checks that they fit.
    ///
    /// # Errors
    /// The first file that cannot be used, and why.
    pub fn load(plan: &ClientPlan) -> Result<ClientTerms, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(plan.min_version.versions())
            .map_err(|cause| TlsError::new("tls.minVersion", cause))?;
        let builder = if plan.verify {
            let files = plan.ca.iter().map(|path| File::read(path)).collect::<Result<Vec<_>, _>>()?;
            let roots = Arc::new(if files.is_empty() { of_system()? } else { roots(&files)? });
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider())).build();
            let inner = verifier.map_err(|cause| TlsError::new("tls.ca", cause))?;
            let named = files.iter().map(File::certificates).collect::<Result<Vec<_>, _>>()?.concat();
            builder.dangerous().with_custom_certificate_verifier(Arc::new(OrItself { inner, named }))
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified))
        };
        let mut config = match &plan.certificate {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let shown = Certificate::new(&File::read(&pair.cert)?, &File::read(&pair.key)?)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown.key)))
            }
        };
        config.alpn_protocols = plan.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let parse = |name: &String| {
            ServerName::try_from(name.clone())
                .map_err(|_| TlsError::new("tls.serverName", format!("{name} is no name")))
        };
        Ok(ClientTerms { config: Arc::new(config), server_name: plan.server_name.as_ref().map(parse).transpose()? })
    }

    /// The name that an endpoint must prove: the configured one, or its host.
    pub(crate) fn server_name(&self, host: &str) -> Option<ServerName<'static>> {
        self.server_name.clone().or_else(|| ServerName::try_from(host.to_owned()).ok())
    }
}

fn of_system() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // Some of a system's certificates may be malformed; the others count.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::new("tls.ca", "this system has no trusted certificates; name a CA file"));
    }
    Ok(roots)
}

/// `verify: false`: encryption without proof of who is at the other end.
#[derive(Debug)]
struct Unverified;

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed_by_12(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed_by_13(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
