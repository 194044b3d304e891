//! Calls that wait for workers: they run on Node's thread pool, never on the event loop.

use crate::memory::coded;
use napi::Env;
use napi::bindgen_prelude::{Result, Task};
use std::panic::{AssertUnwindSafe, catch_unwind};

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
        catch_unwind(AssertUnwindSafe(run))
            .unwrap_or_else(|_| Err(coded("PANIC", "the native side panicked; this is a bug")))
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
