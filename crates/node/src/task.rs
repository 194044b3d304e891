//! Calls that wait for workers: they run on Node's thread pool or a thread of their own, never on the event loop.

use crate::gateway::{failed, json};
use crate::memory::coded;
use napi::Env;
use napi::bindgen_prelude::{Buffer, Object, Result, Task};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use tidegate_proxy::Gateway;

/// A call off the event loop.
pub struct Call<T: Send + 'static> {
    run: Option<Box<dyn FnOnce() -> Result<T> + Send>>,
}

impl<T: Send + 'static> Call<T> {
    pub(crate) fn new(run: impl FnOnce() -> Result<T> + Send + 'static) -> Self {
        Call { run: Some(Box::new(run)) }
    }

    fn call(&mut self) -> Result<T> {
        let run = self.run.take().ok_or_else(|| coded("INTERNAL", "a call ran twice"))?;
        guarded(run)
    }
}

fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(coded("PANIC", "the native side panicked; this is a bug")))
}

/// A promise of what `run` does on a thread of its own.
pub(crate) fn in_thread(env: &Env, run: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Object<'_>> {
    let (deferred, promise) = env.create_deferred::<(), fn(Env) -> Result<()>>()?;
    let settle = move || match guarded(run) {
        Ok(()) => deferred.resolve(|_| Ok(())),
        Err(error) => deferred.reject(error),
    };
    std::thread::Builder::new().name("tidegate-drain".into()).spawn(settle).map_err(|error| coded("THREADS", error))?;
    Ok(promise)
}

/// A plan on its way. It may have 40 MB: they are read where they are, not copied on the
/// event loop. The buffer is let go on the thread of its JavaScript, as the task is.
pub struct Apply {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) plan: Buffer,
}

impl Task for Apply {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        guarded(|| json(&self.gateway.apply(&self.plan).map_err(failed)?))
    }

    fn resolve(&mut self, _: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

impl Task for Call<String> {
    type Output = String;
    type JsValue = String;

    fn compute(&mut self) -> Result<String> {
        self.call()
    }

    fn resolve(&mut self, _: Env, output: String) -> Result<String> {
        Ok(output)
    }
}

impl Task for Call<bool> {
    type Output = bool;
    type JsValue = bool;

    fn compute(&mut self) -> Result<bool> {
        self.call()
    }

    fn resolve(&mut self, _: Env, output: bool) -> Result<bool> {
        Ok(output)
    }
}

impl Task for Call<()> {
    type Output = ();
    type JsValue = ();

    fn compute(&mut self) -> Result<()> {
        self.call()
    }

    fn resolve(&mut self, _: Env, (): ()) -> Result<()> {
        Ok(())
    }
}
