//! The one provider of cryptography, always passed on explicitly: the process-wide
//! default belongs to whoever embeds the gateway.

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;
use std::sync::{Arc, OnceLock};

#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as chosen;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
use rustls::crypto::ring as chosen;

pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(chosen::default_provider()))
}

/// Keys of session tickets, changed by themselves every six hours.
pub(crate) fn ticketer() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    chosen::Ticketer::new()
}
