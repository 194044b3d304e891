//! What the policies of a route would do, for whoever asks: nothing is taken from a limit and nobody is asked.

use super::{Step, Steps, Verdict};
use crate::{Context, KeyInput};
use tidegate_message::View;
use tidegate_resilience::RateVerdict;

/// One policy of a route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Explained {
    /// Its name in the configuration and what it would do.
    Compiled(&'static str, String),
    /// A policy in TypeScript, by its place in `Plan.scripts`; whether it is reached.
    Script(u32, bool),
}

impl Steps {
    /// The steps in their order, then what belongs to the route as a whole. What would not be reached says so.
    pub fn explain<V: View>(&self, view: &V, context: &mut Context<'_>) -> Vec<Explained> {
        let mut is_reached = true;
        let steps = self.steps.iter().zip(1..).map(|(step, next)| {
            if let Step::Script(script) = step {
                return Explained::Script(*script, is_reached);
            }
            let name = step.name().unwrap_or_default();
            if !is_reached {
                return Explained::Compiled(name, "not reached".to_owned());
            }
            let (verdict, goes_on) = step.explain(next, view, context);
            is_reached = goes_on;
            Explained::Compiled(name, verdict)
        });
        let mut explained = Vec::from_iter(steps);
        explained.extend(self.whole().into_iter().map(|(name, verdict)| Explained::Compiled(name, verdict)));
        explained
    }

    fn whole(&self) -> Vec<(&'static str, String)> {
        let mut whole = Vec::new();
        if let Some(bytes) = self.body_limit {
            whole.push(("bodyLimit", format!("a body of at most {bytes} bytes")));
        }
        if let Some(max) = self.bulkhead {
            whole.push(("bulkhead", format!("at most {max} at the same time")));
        }
        if let Some(timeout) = self.timeout {
            let each = timeout.per_try_ms.map_or(String::new(), |ms| format!(", {ms} ms a try"));
            whole.push(("timeout", format!("{} ms to the answer's head{each}", timeout.ms)));
        }
        if let Some(retry) = &self.retry {
            let plan = retry.plan();
            whole.push(("retry", format!("at most {} more tries on {}", plan.attempts, plan.on.join(", "))));
        }
        if self.cache.is_some() {
            whole.push(("cache", "an answer that is kept may be given".to_owned()));
        }
        if let Some(compress) = &self.compress {
            whole.push(("compress", compress.codings.join(", ")));
        }
        whole
    }
}

impl Step {
    /// What it would do, and whether the steps behind it are reached.
    fn explain<V: View>(&self, next: usize, view: &V, context: &mut Context<'_>) -> (String, bool) {
        if let Step::RateLimit(limit, key) = self {
            let input = KeyInput { route: context.route, hash_key: context.edits.hash_key() };
            key.write(view, &input, context.scratch);
            return match limit.peek(context.now_ns, context.scratch) {
                RateVerdict::Pass => ("passes".to_owned(), true),
                RateVerdict::Limited { retry_after_ms } => (format!("refuses for {retry_after_ms} ms"), false),
            };
        }
        match self.run(next, view, context) {
            None => (self.effect(context), true),
            Some(Verdict::Respond(answer)) => (format!("answers {}", answer.status), false),
            Some(Verdict::Login { .. }) => ("asks for user and password".to_owned(), true),
            Some(_) => ("does not fit the request".to_owned(), false),
        }
    }

    fn effect(&self, context: &Context<'_>) -> String {
        let Step::Rewrite(_) = self else { return "passes".to_owned() };
        let edits = &*context.edits;
        let parts = [("path", edits.path()), ("host", edits.host()), ("topic", edits.topic())];
        let parts = parts
            .into_iter()
            .filter_map(|(part, to)| to.map(|to| format!("{part} becomes {}", String::from_utf8_lossy(to))));
        parts.collect::<Vec<_>>().join(", ")
    }
}
