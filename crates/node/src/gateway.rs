//! The class that TypeScript holds.

use crate::memory::{coded, open_all};
use crate::task::{Apply, Call, in_thread};
use napi::Env;
use napi::bindgen_prelude::{AsyncTask, Buffer, Function, Object, Result, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tidegate_proxy::{Gateway, GatewayError, Options};
use tidegate_ring::{EventRing, layout::LAYOUT_VERSION};

/// Gateways by id, so that policy threads find theirs.
static GATEWAYS: Mutex<Option<HashMap<u32, Weak<Gateway>>>> = Mutex::new(None);
static NEXT: AtomicU32 = AtomicU32::new(1);

pub(crate) fn gateway(id: u32) -> Result<Arc<Gateway>> {
    let gateways = GATEWAYS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = gateways.as_ref().and_then(|gateways| gateways.get(&id)?.upgrade());
    found.ok_or_else(|| coded("CLOSED", format!("there is no gateway {id} in this process")))
}

pub(crate) fn failed(error: GatewayError) -> napi::Error {
    coded(error.code, error.message)
}

#[napi(object, use_nullable = true)]
pub struct NativeOptions {
    pub workers: u32,
    pub layout_version: u32,
    pub event_rings: Vec<Uint8Array>,
    /// Where promises are kept; null: in memory only.
    pub data_dir: Option<String>,
}

#[napi]
pub struct NativeGateway {
    id: u32,
    gateway: Arc<Gateway>,
    /// Held, not read: the workers write there until they are joined.
    _rings: Vec<Uint8Array>,
}

#[napi]
impl NativeGateway {
    #[napi(constructor, catch_unwind)]
    pub fn new(env: &Env, options: NativeOptions) -> Result<Self> {
        if options.layout_version != LAYOUT_VERSION {
            let text = format!(
                "the package speaks layout {}, the addon {LAYOUT_VERSION}; install both anew",
                options.layout_version
            );
            return Err(coded("LAYOUT", text));
        }
        let events = open_all(&options.event_rings, EventRing::open)?;
        let (workers, data_dir) = (options.workers as usize, options.data_dir.map(PathBuf::from));
        let gateway = Gateway::start(Options { workers, events, data_dir }).map_err(failed)?;
        let gateway = Arc::new(gateway);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut gateways = GATEWAYS.lock().unwrap_or_else(PoisonError::into_inner);
        gateways.get_or_insert_default().insert(id, Arc::downgrade(&gateway));
        // A Node thread that ends takes its memory with it: the workers must be gone before.
        let ending = Arc::clone(&gateway);
        env.add_env_cleanup_hook(ending, |gateway| {
            gateway.on_wake(None);
            gateway.close();
        })?;
        Ok(NativeGateway { id, gateway, _rings: options.event_rings })
    }

    #[napi(getter, catch_unwind)]
    pub fn id(&self) -> u32 {
        self.id
    }

    #[napi(catch_unwind)]
    pub fn apply_plan(&self, plan: Buffer) -> AsyncTask<Apply> {
        AsyncTask::new(Apply { gateway: Arc::clone(&self.gateway), plan })
    }

    #[napi(catch_unwind)]
    pub fn set_weights(&self, json: String) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Weight {
            upstream: String,
            endpoint: String,
            health: f32,
            draining: bool,
        }
        let weights: Vec<Weight> = serde_json::from_str(&json).map_err(|error| coded("INVALID_WEIGHTS", error))?;
        for weight in weights {
            self.gateway.set_weight(&weight.upstream, &weight.endpoint, (weight.health, weight.draining));
        }
        Ok(())
    }

    #[napi(catch_unwind)]
    pub fn take_spent(&self) -> String {
        self.gateway.take_spent()
    }

    #[napi(catch_unwind)]
    pub fn charge_limits(&self, spent: String) -> Result<()> {
        self.gateway.charge(&spent).map_err(failed)
    }

    #[napi(catch_unwind)]
    pub fn purge_cache(&self, which: String) -> Result<u32> {
        self.gateway.purge_cache(&which).map(|count| count as u32).map_err(failed)
    }

    #[napi(catch_unwind)]
    pub fn scrape(&self, known: u32) -> Buffer {
        self.gateway.scrape(known as usize).into()
    }

    #[napi(catch_unwind)]
    pub fn connections(&self, query: String) -> AsyncTask<Call<String>> {
        let gateway = Arc::clone(&self.gateway);
        call(move || gateway.connections(&query).map_err(failed))
    }

    #[napi(catch_unwind)]
    pub fn close_connection(&self, id: String) -> AsyncTask<Call<bool>> {
        let gateway = Arc::clone(&self.gateway);
        call(move || gateway.close_connection(&id).map_err(failed))
    }

    #[napi(catch_unwind)]
    pub fn explain(&self, query: String) -> AsyncTask<Call<String>> {
        let gateway = Arc::clone(&self.gateway);
        call(move || gateway.explain(&query).map_err(failed))
    }

    #[napi(catch_unwind)]
    pub fn directory(&self, since: u32) -> AsyncTask<Call<String>> {
        let gateway = Arc::clone(&self.gateway);
        call(move || gateway.directory(u64::from(since)).map_err(failed))
    }

    #[napi(catch_unwind)]
    pub fn mqtt_clients(&self, query: String) -> AsyncTask<Call<String>> {
        let gateway = Arc::clone(&self.gateway);
        call(move || gateway.mqtt_clients(&query).map_err(failed))
    }

    #[napi(catch_unwind)]
    pub fn kick_client(&self, client_id: String) -> AsyncTask<Call<bool>> {
        let gateway = Arc::clone(&self.gateway);
        call(move || gateway.kick_client(&client_id).map_err(failed))
    }

    #[napi(catch_unwind)]
    pub fn retained(&self, filter: String) -> AsyncTask<Call<String>> {
        let gateway = Arc::clone(&self.gateway);
        call(move || gateway.retained(&filter).map_err(failed))
    }

    #[napi(catch_unwind)]
    pub fn publish(&self, topic: String, payload: Buffer, options_json: String) -> AsyncTask<Call<String>> {
        let (gateway, payload) = (Arc::clone(&self.gateway), payload.to_vec());
        call(move || gateway.publish(topic, payload, &options_json).map(str::to_owned).map_err(failed))
    }

    #[napi(catch_unwind)]
    pub fn subscribe(&self, filter: String, qos: u32) -> Result<u32> {
        self.gateway.subscribe(&filter, qos.min(2) as u8).map_err(failed)
    }

    #[napi(catch_unwind)]
    pub fn trace(&self, watches: String) -> Result<()> {
        self.gateway.trace(&watches).map_err(failed)
    }

    #[napi(catch_unwind)]
    pub fn unsubscribe(&self, id: u32) {
        self.gateway.unsubscribe(id);
    }

    #[napi(catch_unwind)]
    pub fn upstreams(&self) -> String {
        self.gateway.upstreams()
    }

    #[napi(catch_unwind)]
    pub fn on_wake(&self, callback: Function<'_, (), ()>) -> Result<()> {
        let wake = callback.build_threadsafe_function::<()>().weak::<true>().build()?;
        self.gateway.on_wake(Some(Arc::new(move || {
            wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
        })));
        Ok(())
    }

    // On a thread of its own: Node does not exit before what its pool does is done, and a second signal
    // is to end the process at once.
    #[napi(catch_unwind, ts_return_type = "Promise<unknown>")]
    pub fn drain<'env>(&self, env: &'env Env, options_json: String) -> Result<Object<'env>> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Drain {
            delay_ms: u64,
            timeout_ms: u64,
        }
        let drain: Drain = serde_json::from_str(&options_json).map_err(|error| coded("INVALID_OPTIONS", error))?;
        let gateway = Arc::clone(&self.gateway);
        in_thread(env, move || {
            std::thread::sleep(Duration::from_millis(drain.delay_ms));
            gateway.drain(Duration::from_millis(drain.timeout_ms));
            Ok(())
        })
    }

    #[napi(catch_unwind)]
    pub fn close(&self) -> AsyncTask<Call<()>> {
        let gateway = Arc::clone(&self.gateway);
        call(move || {
            gateway.on_wake(None);
            gateway.close();
            Ok(())
        })
    }

    /// Sets the gateway's clock ahead by so many milliseconds, for the test kit.
    #[napi(catch_unwind)]
    pub fn advance_clock(&self, ms: u32) {
        self.gateway.advance_clock(u64::from(ms));
    }

    /// Panics, so that a test can see that it becomes an error and not an abort.
    #[napi(catch_unwind)]
    pub fn panic_for_test(&self) -> Result<()> {
        #[allow(clippy::panic, reason = "this is what it is for")]
        {
            panic!("asked to");
        }
    }
}

pub(crate) fn call<T: Send + 'static>(run: impl FnOnce() -> Result<T> + Send + 'static) -> AsyncTask<Call<T>>
where
    Call<T>: napi::bindgen_prelude::Task,
{
    AsyncTask::new(Call::new(run))
}

pub(crate) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| coded("INTERNAL", error))
}
