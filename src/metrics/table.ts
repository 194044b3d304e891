/** The metrics of the contract with their help texts. Base units; labels only from this list. */
export const METRICS = {
  tidegate_connections: "open connections",
  tidegate_connections_total: "connections accepted, by outcome",
  tidegate_detect_total: "openings looked at, by protocol found and outcome",
  tidegate_tls_handshakes_total: "TLS handshakes with clients, by outcome",
  tidegate_tls_certificate_expiry_seconds: "until the first certificate of a listener ends",
  tidegate_tls_revocation_expiry_seconds: "until the first revocation list of a listener ends",
  tidegate_requests_total: "requests answered, by route and code",
  tidegate_request_duration_seconds: "from the request head to the last byte of the answer",
  tidegate_upstream_requests_total: "requests sent to upstreams, by code",
  tidegate_upstream_request_duration_seconds: "from sending the request to the response head",
  tidegate_upstream_connections: "connections to upstreams, by state",
  tidegate_upstream_reuse_ratio: "share of upstream requests on a connection that was already open",
  tidegate_upstream_overflow_total: "requests turned away by a limit of the upstream",
  tidegate_upstream_concurrency_limit: "requests at the same time that an adaptive upstream is given",
  tidegate_upstream_endpoint_health: "what health and load leave of an endpoint's weight, 0 to 1",
  tidegate_upstream_failures_total: "tries without a whole answer, by response flag",
  tidegate_upstream_broken_answers_total: "answers that broke off, by code: both requests and failures count them",
  tidegate_upstream_retries_total: "further tries, by outcome",
  tidegate_upstream_hedges_total: "second tries beside a late first one, by outcome: won, lost, failed, budget",
  tidegate_breaker_state: "0 closed, 1 half-open, 2 open",
  tidegate_messages_total: "messages in and out, by quality of service",
  tidegate_message_bytes_total: "payload bytes in and out",
  tidegate_queued_messages: "messages that wait for their subscriber",
  tidegate_dropped_total: "messages that were not delivered, by reason",
  tidegate_delayed_messages: "publishes to $delayed that wait for their time",
  tidegate_pending_wills: "wills that topic routes and policies are to see, or are seeing",
  tidegate_publishes_total: "publishes the broker took or refused, wills included",
  tidegate_deliveries_total: "deliveries due (matched) and handed to a connection (delivered)",
  tidegate_policy_shadow_total: "verdicts of versions in shadow beside the one that holds",
  tidegate_fan_out_turns_total: "turns that publishes for more than 1,024 subscribers took",
  tidegate_pending_deliveries: "deliveries of publishes for many subscribers that are due",
  tidegate_flush_yields_total: "times that a turn of many writes let everything else run first",
  tidegate_slow_clients: "MQTT connections that read too slowly",
  tidegate_coap_asleep: "clients that observe and sleep",
  tidegate_coap_upstream_observations: "resources of CoAP upstreams that are observed for clients",
  tidegate_dtls_sessions: "DTLS sessions, those in their handshake too",
  tidegate_dtls_handshakes_total: "DTLS handshakes that ended well",
  tidegate_subscriptions: "subscriptions of all subscribers",
  tidegate_mqtt_sessions: "sessions, by state",
  tidegate_retained_messages: "retained messages",
  tidegate_store_bytes: "bytes in the logs of the data directory",
  tidegate_store_full: "1: the data directory has no room, what would have to be kept is refused",
  tidegate_store_corrupt_records_total: "broken records found at the start; what stood there is lost",
  tidegate_policy_calls_total: "policy runs: compiled, filtered, cached, decided, timeout, error",
  tidegate_policy_duration_seconds: "from asking a policy to its verdict",
  tidegate_auth_total: "attempts to come in, and what the rules forbade, by outcome",
  tidegate_cache_requests_total: "requests to routes that keep answers: hit, stale, revalidated, miss, pass",
  tidegate_cache_bytes: "answers that are kept, with what keeping them costs",
  tidegate_cache_entries: "answers that are kept",
  tidegate_cache_evicted_total: "answers that had to go for others",
  tidegate_shared_limit_messages_total:
    "messages about limits that gateways share: sent, received, failed (not told any more)",
  tidegate_spans_total: "spans of requests and messages: exported, dropped (no room), failed (the collector)",
  tidegate_optimizer_limit: "maxRequests of upstreams with goals, as it is now",
  tidegate_optimizer_changes_total: "changes of the optimizer: proposed, applied, undone, dropped",
  tidegate_config_version: "version of the plan in force",
  tidegate_config_applies_total: "changes of the configuration, by outcome",
  tidegate_ring_dropped_total: "events lost because nobody read them in time",
} as const satisfies Record<string, string>

/** What a metric is that has no series yet, which its name tells. */
export function kindOf(name: string): "counter" | "gauge" | "histogram" {
  if (name.endsWith("_total")) return "counter"
  return name.endsWith("_duration_seconds") ? "histogram" : "gauge"
}

/** The help text of a metric; native may have some that stand in no contract. */
export function helpOf(name: string): string {
  return (METRICS as Readonly<Record<string, string>>)[name] ?? name.replaceAll("_", " ")
}
