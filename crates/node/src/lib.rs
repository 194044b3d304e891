//! The border to Node.js: types are converted here, names of errors kept, and
//! nothing is decided. Every export catches panics, since one that unwinds into
//! JavaScript would abort the process; blocking calls run on Node's thread pool.
#![allow(missing_docs, reason = "the documented side of these exports is src/native/native.ts")]
#![allow(unreachable_pub, reason = "what napi exports must be pub; nobody links this crate")]

mod codec;
mod codec_coap_tcp;
mod codec_mqtt;
mod codec_plain;
mod gateway;
mod memory;
mod policy;
mod task;
mod tls;
