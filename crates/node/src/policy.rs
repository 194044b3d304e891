//! A policy thread's end: it arrives with the rings of the workers that it serves, kicks workers when it has
//! answered, and is let go before its memory is.

use crate::gateway::{failed, gateway};
use crate::memory::{coded, open_all};
use napi::Env;
use napi::bindgen_prelude::{AsyncTask, Buffer, Function, Result, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use std::sync::Arc;
use tidegate_proxy::{Attachment, Gateway};
use tidegate_ring::{Asked, Decisions};

#[napi]
pub struct PolicyPort {
    gateway: Arc<Gateway>,
    attachment: Attachment,
    /// Held, not read: workers write there until the port is detached.
    _rings: Vec<Uint8Array>,
}

#[napi(catch_unwind)]
pub fn attach_policy_thread(
    env: &Env,
    gateway_id: u32,
    rings: Vec<Uint8Array>,
    wake: Function<'_, (), ()>,
    workers: Vec<u32>,
) -> Result<PolicyPort> {
    let gateway = gateway(gateway_id)?;
    let decisions = open_all(&rings, Decisions::open)?;
    let wake = wake.build_threadsafe_function::<()>().weak::<true>().build()?;
    let wake = Arc::new(move || {
        wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
    });
    if decisions.len() != workers.len() {
        return Err(coded("INVALID_OPTIONS", "a decision ring has no worker"));
    }
    let rings_of = workers.into_iter().map(|worker| worker as u16).zip(decisions).collect();
    let attachment = gateway.attach_policies(rings_of, wake).map_err(failed)?;
    // The thread may be terminated at any time: its rings are let go before its memory is.
    let ending = Arc::clone(&gateway);
    env.add_env_cleanup_hook(ending, move |gateway| gateway.detach_policies(attachment))?;
    Ok(PolicyPort { gateway, attachment, _rings: rings })
}

#[napi]
impl PolicyPort {
    #[napi(catch_unwind)]
    pub fn kick(&self, worker: u32) {
        self.gateway.kick(worker as usize);
    }

    #[napi(catch_unwind)]
    pub fn handler_request(&self, worker: u32, slot: u32, generation: u32) -> Buffer {
        self.gateway.handler_request(worker as u16, Asked { slot, generation }).into()
    }

    #[napi(catch_unwind)]
    pub fn handler_reply(&self, worker: u32, slot: u32, generation: u32, head_json: String, body: Buffer) {
        self.gateway.handler_reply(worker as u16, Asked { slot, generation }, (&head_json, body.to_vec()));
    }

    #[napi(catch_unwind)]
    pub fn policy_payload(&self, worker: u32, slot: u32, generation: u32) -> Option<Buffer> {
        self.gateway.policy_payload(worker as u16, Asked { slot, generation }).map(Buffer::from)
    }

    #[napi(catch_unwind)]
    pub fn policy_answer(&self, worker: u32, slot: u32, generation: u32, payload: Buffer) {
        self.gateway.policy_answer(worker as u16, Asked { slot, generation }, payload.to_vec());
    }

    /// Every upstream with its endpoints, as JSON: what a balancer picks from.
    #[napi(catch_unwind)]
    pub fn upstreams(&self) -> String {
        self.gateway.upstreams()
    }

    #[napi(catch_unwind)]
    pub fn detach(&self) {
        self.gateway.detach_policies(self.attachment);
    }
}

#[napi(catch_unwind)]
pub fn hash_password(password: String) -> AsyncTask<crate::task::Call<String>> {
    crate::gateway::call(move || tidegate_proxy::hash_password(&password).map_err(|text| coded("PASSWORD", text)))
}
