//! Files that the route compresses on their way: those without a precompressed sibling,
//! on the helper threads that read them, a chunk at a time.

use super::answer::Body;
use crate::compress::{Compression, Encoder};
use crate::http::ReplyTo;
use crate::plan::Plan;
use std::io;
use std::sync::Arc;
use tidegate_http::{Coding, Version, put_chunk, put_last_chunk};

/// How a client may get files.
pub(super) struct Packing {
    plan: Arc<Plan>,
    route: usize,
    pub(super) coding: Coding,
}

impl Packing {
    /// `None`: as they are. An HTTP/1.0 client knows no chunks, and the length is not known before.
    pub(super) fn of(reply: &ReplyTo) -> Option<Packing> {
        let coding = reply.coding.filter(|_| reply.version == Version::Http11)?;
        Some(Packing { plan: Arc::clone(&reply.plan), route: reply.route?, coding })
    }

    /// Whether a file of that type and size is one that is compressed.
    pub(super) fn fits(&self, kind: &str, size: u64) -> bool {
        let fields = format!("content-type: {kind}\r\n");
        self.rules().is_some_and(|rules| rules.fits(200, fields.as_bytes(), size))
    }

    fn rules(&self) -> Option<&Compression> {
        self.plan.routes[self.route].compress.as_ref()
    }
}

impl Body {
    /// Fills `buffer` with what goes out next of some `max` bytes. Blocking. With nothing
    /// left in `parts` it was the end.
    ///
    /// # Errors
    /// As [`Body::read`].
    pub(super) fn fill(&mut self, buffer: &mut Vec<u8>, max: usize) -> io::Result<()> {
        let Some(mut encoder) = self.encoder.take() else { return self.read(buffer, max) };
        let mut plain = Vec::new();
        self.read(&mut plain, max)?;
        encoder.write(&plain);
        if self.parts.is_empty() {
            put_chunk(buffer, &Encoder::finish(*encoder));
            put_last_chunk(buffer, b"");
        } else {
            encoder.drain(|data| put_chunk(buffer, data));
            self.encoder = Some(encoder);
        }
        Ok(())
    }
}
