//! Decision slots: a worker writes a question into a free slot and queues its
//! number; JavaScript writes the answer in place and kicks the worker once per
//! batch. A slot whose asker gave up is taken back when its answer comes.

use crate::layout::*;
use crate::memory::{LayoutError, SharedMemory};

/// A question before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// A handler's request, not a policy's decision.
    pub is_handler: bool,
    /// Script id or handler index.
    pub target: u32,
    /// Version of the plan that `target` belongs to.
    pub plan: u32,
    /// The declared fields, encoded; at most [`SLOT_QUESTION_MAX`] bytes.
    pub bytes: &'a [u8],
}

/// The place of a question.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Asked {
    /// Slot number.
    pub slot: u32,
    /// Its use.
    pub generation: u32,
}

/// What came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The policy returned; the bytes were read.
    Verdict,
    /// The policy threw.
    Threw,
    /// The policy returned something that is no verdict.
    Invalid,
}

/// The asking end of one worker.
#[derive(Debug)]
pub struct Decisions {
    memory: SharedMemory,
    capacity: usize,
    head: u32,
    free: Vec<u32>,
    /// Slots that are asked, in the order they were asked.
    asked: Vec<Asked>,
}

impl Decisions {
    /// Opens a ring that JavaScript prepared.
    ///
    /// # Errors
    /// Its version or size is not ours.
    pub fn open(memory: SharedMemory) -> Result<Self, LayoutError> {
        let capacity = memory.open(DECISION_VERSION, SLOT_BYTES, decision_ring_bytes)?;
        let free = (0..capacity as u32).rev().collect();
        Ok(Decisions { memory, capacity, head: memory.load(HEAD_AT), free, asked: Vec::new() })
    }

    /// Writes a question. The second value says that JavaScript had read everything
    /// before, so it needs waking. `None`: all slots are taken, or the question is too long.
    pub fn ask(&mut self, question: &Question<'_>) -> Option<(Asked, bool)> {
        if question.bytes.len() > SLOT_QUESTION_MAX {
            return None;
        }
        let slot = self.free.pop()?;
        let at = self.slot_at(slot);
        let generation = self.memory.load(at + SLOT_GENERATION_AT).wrapping_add(1);
        self.memory.store(at + SLOT_GENERATION_AT, generation);
        self.memory.store(at + SLOT_KIND_AT, 1 + u32::from(question.is_handler));
        self.memory.store(at + SLOT_TARGET_AT, question.target);
        self.memory.store(at + SLOT_PLAN_AT, question.plan);
        self.memory.store(at + SLOT_QUESTION_LEN_AT, question.bytes.len() as u32);
        self.memory.store(at + SLOT_ANSWER_LEN_AT, 0);
        self.memory.write(at + SLOT_QUESTION_AT, question.bytes);
        self.memory.store(at + SLOT_STATE_AT, STATE_ASKED);
        self.memory.store(HEADER_BYTES + (self.head as usize & (self.capacity - 1)) * 4, slot);
        let before = self.head;
        self.head = self.head.wrapping_add(1);
        let was_read = self.memory.publish((HEAD_AT, self.head), (TAIL_AT, before));
        let asked = Asked { slot, generation };
        self.asked.push(asked);
        Some((asked, was_read))
    }

    /// Takes every answer that has come: `take` gets its place, its kind and its bytes.
    pub fn answers(&mut self, mut take: impl FnMut(Asked, Answer, &[u8])) {
        let mut bytes = Vec::new();
        let (memory, capacity) = (self.memory, self.capacity);
        let free = &mut self.free;
        self.asked.retain(|asked| {
            let at = slots_at(capacity) + asked.slot as usize * SLOT_BYTES;
            if memory.load(at + SLOT_STATE_AT) != STATE_ANSWERED {
                return true;
            }
            bytes.clear();
            let len = memory.load(at + SLOT_ANSWER_LEN_AT) as usize;
            let answer = match memory.load(at + SLOT_OUTCOME_AT) {
                0 if len <= SLOT_ANSWER_MAX => {
                    memory.read(at + SLOT_ANSWER_AT, len, &mut bytes);
                    Answer::Verdict
                }
                1 => Answer::Threw,
                _ => Answer::Invalid,
            };
            memory.store(at + SLOT_STATE_AT, STATE_FREE);
            free.push(asked.slot);
            take(*asked, answer, &bytes);
            false
        });
    }

    /// Frees the slot of a handler's question: its reply came another way.
    pub fn release(&mut self, asked: Asked) {
        let Some(at) = self.asked.iter().position(|known| *known == asked) else { return };
        self.asked.swap_remove(at);
        self.memory.store(self.slot_at(asked.slot) + SLOT_STATE_AT, STATE_FREE);
        self.free.push(asked.slot);
    }

    /// Forgets what was asked before the policy thread was replaced: it will never be
    /// answered, and the new thread must not see it.
    pub fn reset(&mut self) -> Vec<Asked> {
        let lost = std::mem::take(&mut self.asked);
        for asked in &lost {
            self.memory.store(self.slot_at(asked.slot) + SLOT_STATE_AT, STATE_FREE);
            self.free.push(asked.slot);
        }
        self.memory.store(TAIL_AT, self.head);
        lost
    }

    /// Sets where the generations of all slots begin, so that no place of this ring is
    /// taken for one of the ring before it.
    pub fn begin(&mut self, generation: u32) {
        for slot in 0..self.capacity as u32 {
            self.memory.store(self.slot_at(slot) + SLOT_GENERATION_AT, generation);
        }
    }

    /// The question that stands in a slot, for the ring that takes over. Its bytes
    /// replace those in `bytes`.
    pub fn question<'b>(&self, asked: Asked, bytes: &'b mut Vec<u8>) -> Question<'b> {
        let at = self.slot_at(asked.slot);
        let len = self.memory.load(at + SLOT_QUESTION_LEN_AT) as usize;
        bytes.clear();
        self.memory.read(at + SLOT_QUESTION_AT, len.min(SLOT_QUESTION_MAX), bytes);
        Question {
            is_handler: self.memory.load(at + SLOT_KIND_AT) == 2,
            target: self.memory.load(at + SLOT_TARGET_AT),
            plan: self.memory.load(at + SLOT_PLAN_AT),
            bytes,
        }
    }

    /// Questions without an answer.
    pub fn waiting(&self) -> usize {
        self.asked.len()
    }

    /// Questions that were asked, and those that JavaScript has taken; both wrap.
    pub fn progress(&self) -> (u32, u32) {
        (self.head, self.memory.load(TAIL_AT))
    }

    fn slot_at(&self, slot: u32) -> usize {
        slots_at(self.capacity) + slot as usize * SLOT_BYTES
    }
}
