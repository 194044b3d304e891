//! `stale-while-revalidate` (RFC 5861): the client has its answer already, the next one
//! is fetched by a task of its own.

use super::fill::{Came, Coded, Fill};
use crate::client::Client;
use crate::files;
use crate::http::fetch::{Fetch, Fetched, fetch};
use crate::http::forward::{choose, write_head};
use crate::http::request::Request;
use crate::http::target::outgoing_target;
use crate::metrics::CacheOutcome;
use crate::plan::{Plan, Route, RouteCache};
use crate::worker::Worker;
use httparse::Header;
use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use tidegate_cache::{Begun, Key, RequestTerms, Stored, Ticket};
use tidegate_http::Coding;

/// Fetches of this kind on one worker; more are not begun, the next request begins one.
const FETCHES_MAX: usize = 256;

thread_local! {
    static FETCHES: Cell<usize> = const { Cell::new(0) };
}

/// Begins to fetch a stale answer anew, unless somebody does already.
pub(super) fn fetch_behind(
    client: &Client,
    request: &Request<'_>,
    (index, route, cache): (usize, &Route, &RouteCache),
    (key, stored): (&Key, &Arc<Stored>),
) {
    if FETCHES.get() >= FETCHES_MAX {
        return client.worker.dropped(client.protocol, "cache-refresh-overflow");
    }
    let upstream = match request.edits.borrow().upstream() {
        Some(name) => request.plan.plan.upstreams.iter().position(|upstream| *upstream.name == *name),
        None => choose(request.plan, &route.target),
    };
    let store = &client.worker.shared.cache;
    let (Some(upstream), Begun::Fetch(ticket)) = (upstream, Ticket::begin(store, key, client.worker.clock.millis()))
    else {
        return;
    };
    let terms = RequestTerms::of(request.head.headers);
    let fill = Fill::new(request, (ticket, terms, cache.policy.clone()), Some(Arc::clone(stored)));
    fill.prepare(&mut request.edits.borrow_mut());
    let edits = request.edits.borrow();
    let target = outgoing_target(request, &edits);
    let host = edits.host().unwrap_or(request.head.authority);
    let raw = write_head(client, request, (&target, host, &edits), (false, None));
    let wanted = Fetch {
        // A HEAD asks for what a GET brought.
        method: "GET",
        raw: if request.to_head() { [b"GET", &raw[4..]].concat() } else { raw },
        source: Some(request.view.peer.address.ip()),
        timeout_ms: route.timeout_ms,
        ..Fetch::default()
    };
    let (worker, plan, coding) = (Rc::clone(&client.worker), Rc::clone(request.plan), request.coding(route));
    FETCHES.set(FETCHES.get() + 1);
    tokio::task::spawn_local(async move {
        if let Ok(fetched) = fetch(&worker, &plan, upstream, &wanted).await {
            keep(&worker, (&plan.plan, index, coding), (fill, fetched)).await;
        }
        FETCHES.set(FETCHES.get() - 1);
    });
}

/// Keeps what was fetched, as a client would have got it.
async fn keep(
    worker: &Worker,
    (plan, index, coding): (&Arc<Plan>, usize, Option<Coding>),
    (fill, fetched): (Fill, Fetched),
) {
    let headers: Vec<Header<'_>> = fetched.fields.iter().map(|(name, value)| Header { name, value }).collect();
    let came = Came { now_us: worker.clock.micros(), epoch_ms: worker.clock.epoch_ms() };
    let route = &plan.routes[index];
    if fetched.status == 304 {
        if fill.confirmed(&headers, came).is_some()
            && let Some(cache) = &route.cache
        {
            cache.count(worker.id, CacheOutcome::Revalidated);
        }
        return;
    }
    if fetched.status >= 500 {
        return;
    }
    let plain = tidegate_cache::stored_fields(&headers, |_| false);
    let compression = route.compress.as_ref();
    let fits = compression.is_some_and(|known| known.fits(fetched.status, &plain, fetched.body.len() as u64));
    let (coded, body) = match coding.filter(|_| fits) {
        None if fits => (Coded::Plain, fetched.body),
        None => (Coded::No, fetched.body),
        Some(coding) => {
            let (plan, body) = (Arc::clone(plan), fetched.body);
            let pack = move || plan.routes[index].compress.as_ref()?.pack(coding, b"", &body);
            let Some(packed) = files::blocking(pack).await.flatten() else { return };
            (Coded::As(coding), packed.body)
        }
    };
    let Some(mut copying) = fill.copy((fetched.status, &headers), (|_: &str| false, coded), came) else { return };
    match copying.take(&body) {
        true => copying.keep(),
        false => copying.refuse(came.now_us / 1_000),
    }
}
