//! One use of a TypeScript policy: what decides whether a message crosses, under
//! which key its decision is kept, and the record that crosses.

use tidegate_message::View;
use tidegate_route::Condition;

use crate::field::Field;
use crate::{FallbackPlan, FieldPlan, Key, PolicyError, ScriptPlan};

/// Length that says that the message has no such field.
const ABSENT: u16 = 0xffff;

/// A compiled `ScriptPlan`.
#[derive(Clone, Debug)]
pub struct Script {
    /// Place in the decision ring's policy table.
    pub id: u32,
    /// Its name in metrics.
    pub policy: Box<str>,
    /// Rung 1: only what matches crosses; `None`: everything does.
    pub filter: Option<Condition>,
    /// Rung 2: under which key a decision is kept.
    pub cache_key: Option<Key>,
    /// Until the fallback answers, milliseconds.
    pub deadline_ms: u64,
    /// What happens then.
    pub fallback: FallbackPlan,
    /// Whether it may ask for the payload, which stays native until then.
    pub wants_payload: bool,
    reads: Box<[Field]>,
}

impl Script {
    /// Compiles a use of a policy.
    ///
    /// # Errors
    /// A broken filter, key or field.
    pub fn compile(plan: &ScriptPlan) -> Result<Self, PolicyError> {
        let field = |plan: &FieldPlan| {
            let field = Field::compile(&plan.field, plan.name.as_deref());
            field.ok_or_else(|| PolicyError::InvalidField(plan.field.clone()))
        };
        let filter = plan.filter.as_ref().map(Condition::compile).transpose();
        Ok(Script {
            id: plan.id,
            policy: plan.policy.as_str().into(),
            filter: filter.map_err(PolicyError::InvalidFilter)?,
            cache_key: plan.cache.as_ref().map(|cache| Key::compile(&cache.by)).transpose()?,
            deadline_ms: plan.deadline_ms,
            fallback: plan.fallback,
            wants_payload: plan.reads.iter().any(|read| read.field == "payload"),
            reads: plan.reads.iter().map(field).collect::<Result<_, _>>()?,
        })
    }

    /// Whether a message has to be decided at all.
    pub fn applies<V: View>(&self, view: &V) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.matches(view))
    }

    /// Puts the record in place of what is in `out`: for each field that the policy
    /// reads a little-endian length and the bytes; 0xFFFF: the message has none.
    /// `false`: the record would be longer than `max`, so the fallback has to answer.
    pub fn write_record<V: View>(&self, view: &V, out: &mut Vec<u8>, max: usize) -> bool {
        out.clear();
        self.reads.iter().all(|field| {
            let start = out.len();
            out.extend_from_slice(&ABSENT.to_le_bytes());
            let present = field.append(view, out);
            let len = out.len() - start - 2;
            if present && out.len() <= max {
                // `max` is a slot of the ring, far below 64 KiB.
                let len = u16::try_from(len).unwrap_or(ABSENT - 1);
                out[start..start + 2].copy_from_slice(&len.to_le_bytes());
            }
            out.len() <= max
        })
    }
}
