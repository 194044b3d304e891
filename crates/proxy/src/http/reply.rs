//! Answers to requests that waited for something: a body that was collected, a
//! login, a file. What an answer needs to know of its request is kept here, since the
//! head is gone by then.

use super::pace::{Pace, deliver};
use super::respond::{Answer, Length, respond};
use crate::access::{Ending, Seen};
use crate::client::{Client, Ended, Input};
use crate::compress::{Compression, INLINE_BYTES, Packed, VARY};
use crate::files;
use crate::plan::Plan;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_http::{Body, BodyReader, Coding, Piece, Version};
use tidegate_policy::Edits;

/// What the answer needs to know of the request.
pub(crate) struct ReplyTo {
    pub(crate) route: Option<usize>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) started_us: u64,
    pub(crate) to_head: bool,
    pub(crate) keep_alive: bool,
    pub(crate) version: Version,
    pub(crate) body: Body,
    pub(crate) expects_continue: bool,
    /// How the answer is compressed, if it is one that is.
    pub(crate) coding: Option<Coding>,
    /// Kept only where policies change the response.
    pub(crate) edits: Option<Box<Edits>>,
    /// For the access log.
    pub(crate) seen: Option<Box<Seen>>,
}

/// The whole body, from what was carried over and what still comes. `Err`: the status
/// to close with.
pub(super) async fn collect(client: &mut Client, reply: &ReplyTo, limit: usize) -> Result<Vec<u8>, u16> {
    if matches!(reply.body, Body::Length(length) if length > limit as u64) {
        return Err(413);
    }
    let mut reader = BodyReader::new(reply.body, reply.plan.bounds.chunk_extensions);
    let mut body = Vec::new();
    if reply.body != Body::None {
        client.deadline(client.worker.clock.millis(), reply.plan.limits.stall_timeout_ms);
    }
    let mut input: Option<Input> = client.carried();
    let mut asked = !reply.expects_continue;
    let mut pace = Pace::default();
    loop {
        if let Some(mut ready) = input.take() {
            let done = fill(&mut reader, &mut ready, (&mut body, limit));
            client.stash(ready);
            if done? {
                return Ok(body);
            }
        } else if reader.is_done() {
            return Ok(body);
        }
        if !std::mem::replace(&mut asked, true) {
            client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| 0_u16)?;
        }
        let ready = client.input(false).await.map_err(|ended| if ended == Ended::TimedOut { 408 } else { 0_u16 })?;
        let (now, stall_ms) = (client.worker.clock.millis(), reply.plan.limits.stall_timeout_ms);
        if !pace.is_kept((now, stall_ms), ready.bytes().len()) {
            client.worker.buffers.give(ready.buffer);
            return Err(408);
        }
        input = Some(ready);
        client.deadline(now, stall_ms);
    }
}

fn fill(reader: &mut BodyReader, input: &mut Input, (body, limit): (&mut Vec<u8>, usize)) -> Result<bool, u16> {
    loop {
        let (start, end) = (input.start, input.end);
        let (piece, used) = reader.next(&input.buffer[start..end]).map_err(|error| error.code)?;
        match piece {
            Piece::Data(data) => body.extend_from_slice(data),
            Piece::NeedMore => {
                input.start += used;
                return Ok(false);
            }
            Piece::End(_) => {
                input.start += used;
                return Ok(true);
            }
        }
        input.start += used;
        if body.len() > limit {
            return Err(413);
        }
    }
}

impl ReplyTo {
    /// Sends an answer; the client comes back where its connection goes on.
    pub(crate) async fn send(
        &self,
        mut client: Box<Client>,
        (status, fields, body): (u16, &[u8], &[u8]),
    ) -> Option<Box<Client>> {
        let worker = Rc::clone(&client.worker);
        let micros = worker.clock.micros();
        let keep_alive = self.keep_alive && !client.connection.is_leaving();
        let mut all = fields.to_vec();
        let typed = memchr::memmem::find(&fields.to_ascii_lowercase(), b"content-type:").is_some();
        if !typed && !body.is_empty() {
            all.extend_from_slice(b"content-type: text/plain; charset=utf-8\r\n");
        }
        let packed = self.compressed(&client, (status, &mut all, body)).await;
        let (fields, body) = packed.as_ref().map_or((&*all, body), |packed| (&*packed.fields, &*packed.body));
        let mut out = worker.buffers.take_write();
        respond(
            &client,
            micros / 1_000,
            &Answer {
                status,
                fields,
                body,
                length: Length::Whole,
                to_head: self.to_head,
                keep_alive,
                edits: self.edits.as_deref(),
            },
            &mut out,
        );
        self.count(&client, status, body.len() as u64);
        let written = deliver(&mut client, &out, self.plan.limits.stall_timeout_ms).await;
        worker.buffers.give_write(out);
        match written {
            Ok(()) if keep_alive => Some(client),
            Ok(()) => {
                client.close().await;
                None
            }
            Err(_) => None,
        }
    }

    /// How the route compresses answers.
    pub(crate) fn compression(&self) -> Option<&Compression> {
        self.plan.routes.get(self.route?)?.compress.as_ref()
    }

    /// The answer as the route compresses it, a large one on a helper thread. `None`: as it is,
    /// with what caches have to know of that.
    async fn compressed(&self, client: &Client, (status, fields, body): (u16, &mut Vec<u8>, &[u8])) -> Option<Packed> {
        let route = self.route?;
        let compression = self.compression().filter(|known| known.fits(status, fields, body.len() as u64))?;
        let packed = match self.coding {
            None => None,
            Some(coding) if body.len() <= INLINE_BYTES => compression.pack(coding, fields, body),
            Some(coding) => {
                let (plan, fields, body) = (Arc::clone(&self.plan), fields.clone(), body.to_vec());
                let pack = move || plan.routes[route].compress.as_ref()?.pack(coding, &fields, &body);
                files::blocking(pack).await.flatten()
            }
        };
        match packed {
            Some(_) => compression.count(client.worker.id),
            None => fields.extend_from_slice(VARY),
        }
        packed
    }

    /// Begins an answer whose body follows in pieces; whether the connection goes on behind it.
    pub(crate) fn begin(&self, client: &Client, (status, fields, length): (u16, &[u8], Length)) -> (Vec<u8>, bool) {
        let keep_alive = self.keep_alive && !client.connection.is_leaving();
        let mut out = client.worker.buffers.take_write();
        let (to_head, edits) = (self.to_head, self.edits.as_deref());
        let answer = Answer { status, fields, body: b"", length, to_head, keep_alive, edits };
        respond(client, client.worker.clock.millis(), &answer, &mut out);
        self.count(client, status, if let Length::Later(length) = length { length } else { 0 });
        (out, keep_alive)
    }

    /// Asks for credentials (401), the body read first: what is left of it would be taken for
    /// the next request.
    /// A client that waits for 100 (Continue) is spared sending it, and the connection closes.
    pub(super) async fn ask_for_user(mut self, mut client: Box<Client>) -> Option<Box<Client>> {
        let limit = self.plan.bounds.body_collected;
        if self.expects_continue || collect(&mut client, &self, limit).await.is_err() {
            client.connection.lingers.set(true);
            self.keep_alive = false;
        }
        let fields = b"www-authenticate: Basic realm=\"tidegate\", charset=\"UTF-8\"\r\n";
        self.send(client, (401, fields, b"say who you are: user and password\n")).await
    }

    /// Sends an error and closes, since the body was not read whole. Status 0: the client is gone.
    pub(super) async fn close(mut self, client: Box<Client>, status: u16) -> Option<Box<Client>> {
        if status == 0 {
            return None;
        }
        client.connection.lingers.set(true);
        self.keep_alive = false;
        let body = format!("{status} {}\n", tidegate_http::reason(status));
        self.send(client, (status, b"", body.as_bytes())).await
    }

    /// Counts the answer on its route.
    pub(crate) fn count(&self, client: &Client, status: u16, bytes: u64) {
        let counters = self.route.map_or(&self.plan.builtin, |index| &self.plan.routes[index].counters);
        let counters = counters[usize::from(client.worker.id)].of(client.protocol);
        counters.codes.add(status);
        let micros = client.worker.clock.micros().saturating_sub(self.started_us);
        counters.duration.observe(micros);
        let Some(seen) = &self.seen else { return };
        let ending = Ending {
            began_ms: client.worker.clock.epoch_ms() + self.started_us / 1_000,
            micros,
            status,
            bytes: if self.to_head { 0 } else { bytes },
            route: self.route.map(|index| &*self.plan.routes[index].name),
            upstream: None,
            endpoint: None,
            flag: "-",
            retries: 0,
        };
        client.worker.log_access(&self.plan, (seen, &ending));
    }
}
