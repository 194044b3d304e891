//! One HTTP/1.1 connection, request after request.

use super::answers::refused;
use super::dispatch::{Next, Resume, dispatch};
use super::exchange::Done;
use super::tunnel;
use crate::client::{Client, Ended, Input};
use std::future::poll_fn;
use tidegate_http::HeadScan;
use tidegate_kit::DecodeError;

/// Serves a connection, from what it carries on, until one side closes it. What lives across a
/// wait is part of its task: nothing that needs room does.
pub(crate) async fn serve(mut client: Box<Client>) {
    let mut resume: Option<Box<Resume>> = None;
    loop {
        let next = match resume.take() {
            Some(resume) => match client.carried() {
                Some(head) => turn(&mut client, head, Some(resume)),
                None => return,
            },
            None => match next_head(&mut client).await {
                Some(head) => turn(&mut client, head, None),
                None => return client.close().await,
            },
        };
        let keep = match next {
            Next::Exchange(mut exchange) => match poll_fn(|cx| exchange.poll(&mut client, cx)).await {
                Done::Over(keep) => keep,
                Done::Upgraded(behind) => return Box::pin(tunnel::run(client, exchange, behind)).await,
            },
            Next::Written(keep) => keep,
            Next::Flush(rest, keep) => {
                let stall = client.worker.plan().plan.limits.stall_timeout_ms;
                client.deadline(client.worker.clock.millis(), stall);
                Box::pin(client.write_all(&rest)).await.is_ok() && keep
            }
            Next::Ask(asking, mut waiting) => {
                waiting.ruling = Box::pin(asking.ruling()).await;
                resume = Some(waiting);
                true
            }
            Next::Local(local) => match Box::pin(local.run(client)).await {
                Some(back) => {
                    client = back;
                    true
                }
                None => return,
            },
        };
        if !keep {
            return client.close().await;
        }
    }
}

/// Dispatches the request that `input` begins with; what stands behind its head is carried over.
fn turn(client: &mut Client, mut input: Input, resume: Option<Box<Resume>>) -> Next {
    let next = dispatch(client, &mut input, resume);
    client.stash(input);
    next
}

/// Waits for a whole head, carried over or new. `None`: the connection ends; what there was
/// to say has been said.
async fn next_head(client: &mut Client) -> Option<Input> {
    let input = match client.carried() {
        Some(input) => input,
        None => {
            let now = client.worker.clock.read_millis();
            client.connection.is_active.set(false);
            client.deadline(now, client.worker.plan().plan.limits.idle_timeout_ms);
            let input = client.input(true).await.ok()?;
            client.connection.is_active.set(true);
            input
        }
    };
    let bytes = input.bytes();
    // Without a body behind it, a head is the end of what was read.
    if bytes.ends_with(b"\r\n\r\n") || memchr::memmem::find(bytes, b"\r\n\r\n").is_some() {
        return Some(input);
    }
    Box::pin(rest_of_head(client, input)).await
}

/// The head came in part: scans what arrives, within its own deadline.
async fn rest_of_head(client: &mut Client, first: Input) -> Option<Input> {
    let plan = client.worker.plan();
    let mut scan = HeadScan::default();
    client.deadline(client.worker.clock.millis(), plan.plan.limits.header_timeout_ms);
    let mut input = first;
    loop {
        match scan.advance(input.bytes(), &plan.plan.bounds) {
            Ok(true) => return Some(input),
            Ok(false) => client.stash(input),
            Err(error) => {
                client.worker.buffers.give(input.buffer);
                return refuse(client, &error).await;
            }
        }
        input = match client.input(false).await {
            Ok(input) => input,
            Err(Ended::TimedOut) => return refuse(client, &SLOW_HEAD).await,
            Err(_) => return None,
        };
    }
}

async fn refuse(client: &mut Client, error: &DecodeError) -> Option<Input> {
    let now = client.worker.clock.micros();
    client.deadline(now / 1_000, client.worker.plan().plan.limits.stall_timeout_ms);
    if let Next::Flush(rest, _) = refused(client, now, error) {
        let _ = client.write_all(&rest).await;
    }
    None
}

const SLOW_HEAD: DecodeError =
    DecodeError::close(408, "RFC 9110 section 15.5.9", "the request head did not arrive in time");
