//! Certificates for development.

use crate::gateway::call;
use crate::memory::coded;
use crate::task::Call;
use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;
use tidegate_tls::{DevPair, dev_authority, dev_certificate};

fn json(made: Result<DevPair, tidegate_tls::TlsError>) -> napi::Result<String> {
    let DevPair { cert, key } = made.map_err(|cause| coded("TLS_INVALID", cause.to_string()))?;
    Ok(serde_json::json!({ "cert": cert, "key": key }).to_string())
}

/// A new authority: `{ cert, key }`, PEM.
#[napi(catch_unwind)]
pub fn create_dev_authority(name: String) -> AsyncTask<Call<String>> {
    call(move || json(dev_authority(&name)))
}

/// A certificate for `names` that the authority signs: `{ cert, key }`, PEM.
#[napi(catch_unwind)]
pub fn create_dev_certificate(cert: String, key: String, names: Vec<String>) -> AsyncTask<Call<String>> {
    call(move || json(dev_certificate(&DevPair { cert, key }, &names)))
}
