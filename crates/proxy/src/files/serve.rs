//! Writes a file to a client: helper threads read, the worker writes, at most one
//! chunk in hand for each connection.

use super::answer::FileRequest;
use super::packing::Packing;
use crate::client::Client;
use crate::http::{Length, ReplyTo, deliver};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// Read at a time.
const CHUNK: usize = 128 << 10;
/// Helper threads of a worker that may be at a disk: a disk that hangs must not take
/// those that check passwords.
const READERS: usize = 16;

thread_local! {
    static READING: Arc<Semaphore> = Arc::new(Semaphore::new(READERS));
}

/// Serves a file; the client comes back where its connection goes on.
pub(crate) async fn serve(mut client: Box<Client>, (request, reply): (FileRequest, ReplyTo)) -> Option<Box<Client>> {
    let (to_head, packing) = (reply.to_head, Packing::of(&reply));
    let read = blocking(move || {
        let mut answer = request.answer(packing.as_ref());
        let mut chunk = Vec::new();
        let is_read = to_head || answer.body.fill(&mut chunk, CHUNK).is_ok();
        (answer, chunk, is_read)
    });
    let Some((answer, mut chunk, true)) = read.await else {
        return reply.send(client, (500, b"", b"500 Internal Server Error: the file cannot be read\n")).await;
    };
    let mut body = answer.body;
    if let (true, Some(rules)) = (answer.is_packed, reply.compression()) {
        rules.count(client.worker.id);
    }
    let length = if answer.is_packed { Length::Chunks } else { Length::Later(body.length) };
    let (mut out, keep_alive) = reply.begin(&client, (answer.status, &answer.fields, length));
    out.append(&mut chunk);
    let stall_ms = reply.plan.limits.stall_timeout_ms;
    deliver(&mut client, &out, stall_ms).await.ok()?;
    client.worker.buffers.give_write(out);
    while !to_head && !body.parts.is_empty() {
        let read = blocking(move || {
            chunk.clear();
            let is_read = body.fill(&mut chunk, CHUNK).is_ok();
            (body, chunk, is_read)
        });
        // A file that became shorter: its length was promised, so the connection ends here.
        let (rest, bytes, true) = read.await? else { return None };
        (body, chunk) = (rest, bytes);
        deliver(&mut client, &chunk, stall_ms).await.ok()?;
    }
    if keep_alive {
        return Some(client);
    }
    client.close().await;
    None
}

/// Runs work that may wait for a disk on a helper thread. `None`: it panicked.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let reading = READING.with(Arc::clone);
    let _permit = reading.acquire_owned().await.ok()?;
    spawn_blocking(work).await.ok()
}
