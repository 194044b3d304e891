//! What the admin API asks: connections, upstreams, and why a request goes where it goes.

use crate::coap::{DIRECTORY_TOPIC, directory_changes};
use crate::gateway::{Gateway, GatewayError};
use crate::http::{Moment, explain_request};
use crate::worker::{ConnectionRow, Control};
use serde::{Deserialize, Serialize};
use tidegate_resilience::GateState;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConnectionQuery {
    protocol: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpstreamRow<'p> {
    name: &'p str,
    breaker: &'static str,
    problem: Option<&'p str>,
    endpoints: Vec<EndpointRow<'p>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointRow<'p> {
    id: &'p str,
    address: String,
    health: f32,
    weight: u32,
    active: u32,
    draining: bool,
    ejected_until: Option<u64>,
}

/// Rows of a page by default and at most.
const PAGE: (usize, usize) = (100, 1_000);

impl Gateway {
    /// What is different in the resource directory since the revision `since`, as JSON.
    /// What expires is told to who observes lookups.
    ///
    /// # Errors
    /// `CLOSED`.
    pub fn directory(&self, since: u64) -> Result<String, GatewayError> {
        let directory = &self.shared.directory;
        let (before, now_ms) = (directory.lock().revision(), self.shared.clock.millis());
        let changes = directory_changes(directory, now_ms, since);
        let revision = directory.lock().revision();
        if revision != before {
            self.publish(DIRECTORY_TOPIC.to_owned(), revision.to_string().into_bytes(), "{}")?;
        }
        Ok(changes.to_string())
    }

    /// A page of the connection table as JSON, in the order of ids.
    ///
    /// # Errors
    /// `INVALID_QUERY`, `CLOSED`.
    pub fn connections(&self, query: &str) -> Result<String, GatewayError> {
        let query: ConnectionQuery = parse(query)?;
        let mut rows: Vec<ConnectionRow> = self.ask(Control::Connections)?.into_iter().flatten().collect();
        rows.retain(|row| query.protocol.as_deref().is_none_or(|wanted| row.protocol == wanted));
        rows.retain(|row| query.state.as_deref().is_none_or(|wanted| row.state == wanted));
        rows.sort_by_key(|row| place(&row.id));
        if let Some(cursor) = query.cursor.as_deref().map(place) {
            rows.retain(|row| place(&row.id) > cursor);
        }
        let limit = query.limit.unwrap_or(PAGE.0).clamp(1, PAGE.1);
        let next_cursor = (rows.len() > limit).then(|| rows[limit - 1].id.clone());
        rows.truncate(limit);
        json(&Page { items: rows, next_cursor })
    }

    /// Closes a connection, politely. `false`: there is none of that id.
    ///
    /// # Errors
    /// `CLOSED`.
    pub fn close_connection(&self, id: &str) -> Result<bool, GatewayError> {
        let Some((worker, slot, generation)) = place(id) else { return Ok(false) };
        if worker as usize >= self.workers.len() {
            return Ok(false);
        }
        self.ask_one(worker as usize, |done| Control::Kick { slot, generation, done })
    }

    /// Upstreams and their endpoints as JSON.
    pub fn upstreams(&self) -> String {
        let plan = self.shared.plan.load();
        let now = self.shared.clock.millis();
        let rows: Vec<UpstreamRow<'_>> = plan
            .upstreams
            .iter()
            .map(|upstream| UpstreamRow {
                name: &upstream.name,
                breaker: match upstream.gate.as_ref().map(|gate| gate.state(now)) {
                    None | Some(GateState::Closed) => "closed",
                    Some(GateState::HalfOpen) => "half-open",
                    Some(GateState::Open) => "open",
                },
                problem: upstream.problem.as_deref(),
                endpoints: upstream
                    .endpoints
                    .iter()
                    .enumerate()
                    .map(|(index, endpoint)| EndpointRow {
                        id: &endpoint.id,
                        address: endpoint.address.to_string(),
                        health: endpoint.health(),
                        weight: endpoint.weight,
                        active: endpoint.active(),
                        draining: endpoint.is_draining(),
                        ejected_until: upstream
                            .outlier
                            .as_ref()
                            .and_then(|outlier| outlier.ejected_until(index as u32))
                            .map(|until| until + self.shared.clock.epoch_ms()),
                    })
                    .collect(),
            })
            .collect();
        serde_json::to_string(&rows).unwrap_or_default()
    }

    /// Where a request or a topic would go, and why, as JSON.
    ///
    /// # Errors
    /// `INVALID_QUERY`: neither a URL nor a topic that can be read.
    pub fn explain(&self, query: &str) -> Result<String, GatewayError> {
        let (plan, now_us) = (self.shared.plan.load(), self.shared.clock.micros());
        explain_request(Moment { plan: &plan, now_us }, query)
            .map_err(|message| GatewayError { code: "INVALID_QUERY", message })
    }
}

/// Worker, slot and generation of a connection's id.
fn place(id: &str) -> Option<(u16, u32, u32)> {
    let mut parts = id.splitn(3, '-');
    let worker = parts.next()?.parse().ok()?;
    Some((worker, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

pub(crate) fn parse<'q, T: Deserialize<'q>>(query: &'q str) -> Result<T, GatewayError> {
    serde_json::from_str(query).map_err(|error| GatewayError { code: "INVALID_QUERY", message: error.to_string() })
}

pub(crate) fn json(value: &impl Serialize) -> Result<String, GatewayError> {
    serde_json::to_string(value).map_err(|error| GatewayError { code: "INTERNAL", message: error.to_string() })
}
