//! The terms of a listener as they cross from the control plane.

use std::fmt;

use serde::Deserialize;

/// `dtls` of a listener.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DtlsPlan {
    /// Pre-shared keys by identity.
    pub psk: Vec<PskPlan>,
    /// The gateway's own certificate; `None`: keys only.
    pub certificate: Option<PairPlan>,
    /// Whether clients show certificates.
    pub client_auth: Option<ClientAuthPlan>,
    /// Whether clients may go on from another address (RFC 9146). Default true.
    pub connection_id: bool,
    /// Whether somebody is asked for keys that `psk` lacks. Default false.
    #[serde(default)]
    pub ask_for_key: bool,
}

/// One identity, or a pattern of identities, and its key.
#[derive(Deserialize, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PskPlan {
    /// `*` stands for any run of characters.
    pub identity: String,
    /// The key in hexadecimal digits; of a derived one the master key.
    pub key_hex: String,
    /// Whether each identity has a key of its own: HMAC-SHA-256 of it under the master.
    #[serde(default)]
    pub derived: bool,
}

// A key is in no log.
impl fmt::Debug for PskPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PskPlan").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// PEM files of a chain and its key.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct PairPlan {
    /// The chain, the own certificate first.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

/// Whom certificates of clients are believed from.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ClientAuthPlan {
    /// PEM files.
    pub ca: Vec<String>,
    /// PEM files of revocation lists.
    #[serde(default)]
    pub crl: Vec<String>,
    /// Whether one must be shown.
    pub mode: ClientAuthMode,
}

/// How badly a certificate is wanted.
#[derive(Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuthMode {
    /// No handshake without one. A pre-shared key proves a client as well.
    Require,
    /// It may be shown.
    Request,
}
