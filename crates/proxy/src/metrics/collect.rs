//! What a scrape reads: every counter of every worker, under the names of the contract.

use super::{CacheOutcome, HedgeOutcome, POLICY_OUTCOMES, RETRY_OUTCOMES, Sample, Scraper, Value};
use crate::gateway::Shared;
use crate::http::Flag;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate_message::Protocol;
use tidegate_resilience::GateState;

/// Adds up all counters.
pub(crate) fn collect(shared: &Shared, into: &mut Scraper) {
    for worker in &shared.registry.workers {
        protocols(worker, into);
        let detect =
            [("unknown", &worker.unknown), ("half-open", &worker.half_open), ("not-accepted", &worker.not_accepted)];
        for (outcome, counter) in detect {
            count(into, "tidegate_detect_total", &[("protocol", "none"), ("outcome", outcome)], counter.value());
        }
        for (outcome, counter) in [("success", &worker.handshakes), ("failure", &worker.failed_handshakes)] {
            count(into, "tidegate_tls_handshakes_total", &[("outcome", outcome)], counter.value());
        }
        for ((protocol, reason), dropped) in worker.dropped.lock().iter() {
            count(into, "tidegate_dropped_total", &[("protocol", protocol.label()), ("reason", reason)], *dropped);
        }
        for ((protocol, outcome), times) in worker.auth.lock().iter() {
            count(into, "tidegate_auth_total", &[("protocol", protocol.label()), ("outcome", outcome)], *times);
        }
        count(into, "tidegate_flush_yields_total", &[], worker.flush_yields.value());
        count(into, "tidegate_fan_out_turns_total", &[], worker.fan_out_turns.value());
        gauge(into, "tidegate_pending_deliveries", &[], worker.pending_deliveries.value() as f64);
        count(into, "tidegate_ring_dropped_total", &[], worker.ring_dropped.value());
        count(into, "tidegate_panics_total", &[], worker.panics.value());
        gauge(into, "tidegate_queued_messages", &[], worker.queued.value() as f64);
        gauge(into, "tidegate_delayed_messages", &[], worker.delayed.value() as f64);
        gauge(into, "tidegate_pending_wills", &[], worker.pending_wills.value() as f64);
        gauge(into, "tidegate_slow_clients", &[], worker.slow.value() as f64);
        gauge(into, "tidegate_dtls_sessions", &[], worker.dtls_sessions.value() as f64);
        count(into, "tidegate_dtls_handshakes_total", &[], worker.dtls_handshakes.value());
        gauge(into, "tidegate_coap_asleep", &[], worker.coap_asleep.value() as f64);
        gauge(into, "tidegate_coap_upstream_observations", &[], worker.relays.value() as f64);
        gauge(into, "tidegate_subscriptions", &[], worker.subscriptions.value() as f64);
        let publishes = [("accepted", &worker.publishes_accepted), ("refused", &worker.publishes_refused)];
        for (outcome, counter) in publishes {
            count(into, "tidegate_publishes_total", &[("outcome", outcome)], counter.value());
        }
        for (outcome, counter) in [("matched", &worker.matched), ("delivered", &worker.delivered)] {
            count(into, "tidegate_deliveries_total", &[("outcome", outcome)], counter.value());
        }
        let sessions = [("connected", &worker.sessions_connected), ("disconnected", &worker.sessions_disconnected)];
        for (state, counter) in sessions {
            gauge(into, "tidegate_mqtt_sessions", &[("state", state)], counter.value() as f64);
        }
    }
    if let Some(sink) = &shared.plan.load().access {
        let dropped = sink.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            let labels = [("protocol", "http1"), ("reason", "access-log-full")];
            count(into, "tidegate_dropped_total", &labels, dropped);
        }
    }
    listeners(shared, into);
    routes(shared, into);
    upstreams(shared, into);
    policies(shared, into);
    caches(shared, into);
    gauge(into, "tidegate_retained_messages", &[], shared.broker.retained().count() as f64);
    if let Some(store) = &shared.store {
        let bytes: u64 = store.bytes.iter().map(|bytes| bytes.load(Ordering::Relaxed)).sum();
        gauge(into, "tidegate_store_bytes", &[], bytes as f64);
        gauge(into, "tidegate_store_full", &[], f64::from(u8::from(store.is_full())));
        count(into, "tidegate_store_corrupt_records_total", &[], store.corrupt);
    }
    let plan = shared.plan.load();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    for (name, trust) in &plan.listeners {
        let ends = trust.tls.as_ref().and_then(|tls| tls.expiries.iter().map(|expiry| expiry.not_after).min());
        if let Some(end) = ends {
            gauge(into, "tidegate_tls_certificate_expiry_seconds", &[("listener", name)], (end - now) as f64);
        }
        if let Some(end) = trust.tls.as_ref().and_then(|tls| tls.revocations_end) {
            gauge(into, "tidegate_tls_revocation_expiry_seconds", &[("listener", name)], (end - now) as f64);
        }
    }
    let version = plan.version;
    into.add(&Sample { metric: "tidegate_config_version", labels: &[], value: Value::Gauge(version as f64) });
}

fn count(into: &mut Scraper, metric: &'static str, labels: &[(&'static str, &str)], value: u64) {
    into.add(&Sample { metric, labels, value: Value::Counter(value as f64) });
}

fn gauge(into: &mut Scraper, metric: &'static str, labels: &[(&'static str, &str)], value: f64) {
    into.add(&Sample { metric, labels, value: Value::Gauge(value) });
}

fn protocols(worker: &super::WorkerCounters, into: &mut Scraper) {
    for protocol in Protocol::ALL {
        let counters = worker.of(protocol);
        let name = protocol.label();
        for (direction, by_qos) in [("in", &counters.messages_in), ("out", &counters.messages_out)] {
            for (qos, counter) in ["0", "1", "2"].into_iter().zip(by_qos).filter(|(_, counter)| counter.value() > 0) {
                let labels = [("protocol", name), ("direction", direction), ("qos", qos)];
                count(into, "tidegate_messages_total", &labels, counter.value());
            }
        }
        for (direction, counter) in [("in", &counters.message_bytes_in), ("out", &counters.message_bytes_out)] {
            if counter.value() > 0 {
                let labels = [("protocol", name), ("direction", direction)];
                count(into, "tidegate_message_bytes_total", &labels, counter.value());
            }
        }
        if counters.refused.value() > 0 {
            count(into, "tidegate_refused_total", &[("protocol", name)], counters.refused.value());
        }
    }
}

fn listeners(shared: &Shared, into: &mut Scraper) {
    for (listener, workers) in shared.registry.listeners.lock().iter() {
        for counters in workers.iter() {
            for protocol in Protocol::ALL {
                let (name, connected) = (protocol.label(), counters.of(protocol));
                let accepted = connected.accepted.value();
                if accepted > 0 {
                    let labels = [("protocol", name), ("listener", &**listener)];
                    gauge(into, "tidegate_connections", &labels, connected.open.value() as f64);
                    let labels = [("protocol", name), ("listener", &**listener), ("outcome", "accepted")];
                    count(into, "tidegate_connections_total", &labels, accepted);
                    count(into, "tidegate_detect_total", &[("protocol", name), ("outcome", "detected")], accepted);
                }
            }
            for (outcome, refused) in counters.refused() {
                let labels = [("protocol", "none"), ("listener", &**listener), ("outcome", outcome)];
                count(into, "tidegate_connections_total", &labels, refused);
            }
            if counters.refused_rate.value() > 0 {
                let labels = [("protocol", "mqtt"), ("listener", &**listener), ("outcome", "refused-rate")];
                count(into, "tidegate_connections_total", &labels, counters.refused_rate.value());
            }
        }
    }
}

fn routes(shared: &Shared, into: &mut Scraper) {
    for (route, workers) in shared.registry.routes.lock().iter() {
        for (protocol, counters) in workers.iter().flat_map(|worker| worker.used()) {
            let protocol = protocol.label();
            counters.codes.each(|code, value| {
                let labels = [("protocol", protocol), ("route", route), ("code", code)];
                count(into, "tidegate_requests_total", &labels, value);
            });
            let labels = [("protocol", protocol), ("route", &**route)];
            let value = Value::Histogram(&counters.duration);
            into.add(&Sample { metric: "tidegate_request_duration_seconds", labels: &labels, value });
        }
    }
}

fn upstreams(shared: &Shared, into: &mut Scraper) {
    for (name, workers) in shared.registry.upstreams.lock().iter() {
        let (mut reused, mut connects, mut idle) = (0, 0, 0);
        for counters in workers.iter() {
            counters.codes.each(|code, value| {
                count(into, "tidegate_upstream_requests_total", &[("upstream", name), ("code", code)], value);
            });
            let value = Value::Histogram(&counters.duration);
            into.add(&Sample {
                metric: "tidegate_upstream_request_duration_seconds",
                labels: &[("upstream", name)],
                value,
            });
            for (outcome, counter) in RETRY_OUTCOMES.into_iter().zip(&counters.retries) {
                count(
                    into,
                    "tidegate_upstream_retries_total",
                    &[("upstream", name), ("outcome", outcome)],
                    counter.value(),
                );
            }
            for (outcome, counter) in HedgeOutcome::LABELS.into_iter().zip(&counters.hedges) {
                if counter.value() > 0 {
                    let labels = [("upstream", &**name), ("outcome", outcome)];
                    count(into, "tidegate_upstream_hedges_total", &labels, counter.value());
                }
            }
            let overflow = [("requests", &counters.overflow_requests), ("pending", &counters.overflow_pending)];
            for (reason, counter) in overflow.into_iter().filter(|(_, counter)| counter.value() > 0) {
                let labels = [("upstream", &**name), ("reason", reason)];
                count(into, "tidegate_upstream_overflow_total", &labels, counter.value());
            }
            for (reason, counter) in Flag::FAULTS.into_iter().zip(&counters.failures) {
                if counter.value() > 0 {
                    let labels = [("upstream", &**name), ("reason", reason)];
                    count(into, "tidegate_upstream_failures_total", &labels, counter.value());
                }
            }
            counters.broken.each(|code, value| {
                count(into, "tidegate_upstream_broken_answers_total", &[("upstream", name), ("code", code)], value);
            });
            reused += counters.reused.value();
            connects += counters.connects.value();
            idle += counters.idle.value();
        }
        let ratio = if reused + connects == 0 { 0.0 } else { reused as f64 / (reused + connects) as f64 };
        gauge(into, "tidegate_upstream_reuse_ratio", &[("upstream", name)], ratio);
        gauge(into, "tidegate_upstream_connections", &[("upstream", name), ("state", "idle")], idle as f64);
    }
    for upstream in &shared.plan.load().upstreams {
        let mut active = 0;
        for endpoint in upstream.endpoints.iter() {
            active += endpoint.active();
            let labels = [("upstream", &*upstream.name), ("endpoint", &*endpoint.id)];
            gauge(into, "tidegate_upstream_endpoint_health", &labels, f64::from(endpoint.health()));
        }
        let labels = [("upstream", &*upstream.name), ("state", "active")];
        gauge(into, "tidegate_upstream_connections", &labels, f64::from(active));
        if let Some(adaptive) = &upstream.adaptive {
            let labels = [("upstream", &*upstream.name)];
            gauge(into, "tidegate_upstream_concurrency_limit", &labels, f64::from(adaptive.limit()));
        }
        let labels = [("upstream", &*upstream.name), ("state", "waiting")];
        gauge(into, "tidegate_upstream_connections", &labels, upstream.places.waiting() as f64);
        if let Some(gate) = &upstream.gate {
            let state = match gate.state(shared.clock.millis()) {
                GateState::Closed => 0.0,
                GateState::HalfOpen => 1.0,
                GateState::Open => 2.0,
            };
            gauge(into, "tidegate_breaker_state", &[("upstream", &*upstream.name)], state);
        }
    }
}

fn policies(shared: &Shared, into: &mut Scraper) {
    for (policy, workers) in shared.registry.policies.lock().iter() {
        for counters in workers.iter() {
            for (outcome, counter) in POLICY_OUTCOMES.into_iter().zip(&counters.outcomes) {
                if counter.value() > 0 {
                    count(
                        into,
                        "tidegate_policy_calls_total",
                        &[("policy", policy), ("outcome", outcome)],
                        counter.value(),
                    );
                }
            }
            // Compiled ones take no time that is worth a clock.
            if counters.duration.is_empty() {
                continue;
            }
            let value = Value::Histogram(&counters.duration);
            into.add(&Sample { metric: "tidegate_policy_duration_seconds", labels: &[("policy", policy)], value });
        }
    }
}

fn caches(shared: &Shared, into: &mut Scraper) {
    let caches = shared.registry.caches.lock();
    for (route, counters) in caches.iter().flat_map(|(route, workers)| workers.iter().map(move |one| (route, one))) {
        for (outcome, counter) in CacheOutcome::LABELS.into_iter().zip(&counters.outcomes) {
            let labels = [("route", &**route), ("outcome", outcome)];
            count(into, "tidegate_cache_requests_total", &labels, counter.value());
        }
    }
    if caches.is_empty() {
        return;
    }
    let stats = shared.cache.stats();
    gauge(into, "tidegate_cache_bytes", &[], stats.bytes as f64);
    gauge(into, "tidegate_cache_entries", &[], stats.entries as f64);
    count(into, "tidegate_cache_evicted_total", &[], stats.evicted);
}
