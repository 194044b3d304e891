//! One HTTP/1.1 connection, request after request.

use super::answers::refused;
use super::dispatch::{Next, Resume, dispatch};
use super::exchange::Done;
use super::pace::deliver;
use super::tunnel;
use crate::client::{Client, Ended, Input};
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use tidegate_http::HeadScan;
use tidegate_kit::DecodeError;

/// Serves a connection, from what it carries on, until one side closes it. What lives across a
/// wait is part of its task: nothing that needs room does.
pub(crate) async fn serve(mut client: Box<Client>) {
    let (mut resume, mut is_whole) = (None::<Box<Resume>>, false);
    loop {
        if resume.is_none() && client.carry.is_empty() {
            client.connection.is_active.set(false);
            client.deadline(client.worker.clock.read_millis(), client.worker.plan().plan.limits.idle_timeout_ms);
        }
        let keep = match poll_fn(|cx| poll_next(&mut client, (&mut resume, &mut is_whole), cx)).await {
            Next::Exchange(mut exchange) => match poll_fn(|cx| exchange.poll(&mut client, cx)).await {
                Done::Over(keep) => keep,
                Done::Upgraded(behind) => return Box::pin(tunnel::run(client, exchange, behind)).await,
            },
            Next::Written(keep) => keep,
            Next::Flush(rest) => Box::pin(flush(&mut client, *rest)).await,
            Next::Ask(asked) => {
                let (asking, mut waiting) = *asked;
                waiting.ruling = Box::pin(asking.ruling(&mut client)).await;
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
            Next::Part => {
                is_whole = Box::pin(rest_of_head(&mut client)).await;
                is_whole
            }
        };
        if !keep {
            return client.close().await;
        }
    }
}

/// Waits for a request's head, carried over or new, and dispatches the request, or goes on with
/// the one that a decision was due for. `is_whole`: the head that is carried over is.
fn poll_next(
    client: &mut Client,
    (resume, is_whole): (&mut Option<Box<Resume>>, &mut bool),
    cx: &mut Context<'_>,
) -> Poll<Next> {
    let input = match client.carried() {
        Some(input) => input,
        // What waited for the decision is gone, and that never happens.
        None if resume.is_some() => return Poll::Ready(Next::Written(false)),
        None => match ready!(client.poll_awaited(true, cx)) {
            Ok(input) => input,
            Err(_) => return Poll::Ready(Next::Written(false)),
        },
    };
    client.connection.is_active.set(true);
    let bytes = input.bytes();
    // Without a body behind it, a head is the end of what was read.
    let goes_on = std::mem::take(is_whole)
        || resume.is_some()
        || bytes.ends_with(b"\r\n\r\n")
        || memchr::memmem::find(bytes, b"\r\n\r\n").is_some();
    if goes_on {
        return Poll::Ready(turn(client, input, resume.take()));
    }
    client.stash(input);
    Poll::Ready(Next::Part)
}

/// Writes what the client did not take at once; whether the connection goes on.
async fn flush(client: &mut Client, (rest, keep): (Vec<u8>, bool)) -> bool {
    let stall = client.worker.plan().plan.limits.stall_timeout_ms;
    deliver(client, &rest, stall).await.is_ok() && keep
}

/// Dispatches the request that `input` begins with; what stands behind its head is carried over.
fn turn(client: &mut Client, mut input: Input, resume: Option<Box<Resume>>) -> Next {
    let next = dispatch(client, &mut input, resume);
    client.stash(input);
    next
}

/// The head came in part: scans what arrives, within its own deadline, and carries it over.
/// `false`: the connection ends; what there was to say has been said.
async fn rest_of_head(client: &mut Client) -> bool {
    let plan = client.worker.plan();
    let mut scan = HeadScan::default();
    client.deadline(client.worker.clock.millis(), plan.plan.limits.header_timeout_ms);
    let Some(mut input) = client.carried() else { return false };
    loop {
        match scan.advance(input.bytes(), &plan.plan.bounds) {
            Ok(is_whole) => {
                client.stash(input);
                if is_whole {
                    return true;
                }
            }
            Err(error) => {
                client.stash(input);
                return refuse(client, &error).await;
            }
        }
        input = match client.input(false).await {
            Ok(input) => input,
            Err(Ended::TimedOut) => return refuse(client, &SLOW_HEAD).await,
            Err(_) => return false,
        };
    }
}

async fn refuse(client: &mut Client, error: &DecodeError) -> bool {
    let now = client.worker.clock.micros();
    client.deadline(now / 1_000, client.worker.plan().plan.limits.stall_timeout_ms);
    let opening = std::mem::take(&mut client.carry);
    if let Next::Flush(rest) = refused(client, (now, &opening), error) {
        let _ = client.write_all(&rest.0).await;
    }
    false
}

const SLOW_HEAD: DecodeError =
    DecodeError::close(408, "RFC 9110 section 15.5.9", "the request head did not arrive in time");
