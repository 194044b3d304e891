/** The numbers of `/v1/stats`, and what `tidegate top` makes of two looks at them. */
import test from "ava"
import { quantile, renderTop, type Stats } from "../../src/cli/top-screen.ts"
import { type Sample, snapshotOf } from "../../src/metrics/index.ts"

const counter = (metric: string, labels: Record<string, string>, value: number): Sample => {
  return { metric, labels, kind: "counter", values: [value] }
}

function samples(requests: number, failed: number): Sample[] {
  const buckets = [0.001, 0.01]
  return [
    counter("tidegate_connections", { protocol: "http1", listener: "a" }, 2),
    counter("tidegate_connections", { protocol: "http1", listener: "b" }, 3),
    counter("tidegate_requests_total", { protocol: "http1", route: "api", code: "200" }, requests),
    counter("tidegate_requests_total", { protocol: "coap", route: "api", code: "503" }, failed),
    counter("tidegate_messages_total", { protocol: "mqtt", direction: "in", qos: "1" }, 7),
    counter("tidegate_dropped_total", { protocol: "mqtt", reason: "queue-full" }, 4),
    counter("tidegate_dropped_total", { protocol: "mqtt", reason: "expired" }, 0),
    counter("tidegate_upstream_requests_total", { upstream: "demo", code: "200" }, requests),
    counter("tidegate_breaker_state", { upstream: "demo" }, 2),
    counter("tidegate_mqtt_sessions", { state: "connected" }, 9),
    {
      metric: "tidegate_request_duration_seconds",
      labels: { protocol: "http1", route: "api" },
      kind: "histogram",
      buckets,
      values: [requests / 2, requests, requests, requests / 100, requests],
    },
  ]
}

const stats = (at: number, requests: number, failed: number): Stats => ({
  at,
  state: "running",
  version: 3,
  process: { uptimeSeconds: 90_061, residentBytes: 2 ** 27, cpuSeconds: at / 2_000, eventLoopLagMs: 0.4 },
  ...snapshotOf(samples(requests, failed)),
})

test("series are added up by protocol, route and upstream", (t) => {
  const { protocols, routes, upstreams, drops, sessions } = snapshotOf(samples(100, 5))
  t.deepEqual(
    protocols.map(({ protocol, connections, messagesIn }) => [protocol, connections, messagesIn]),
    [
      ["http1", 5, 0],
      ["mqtt", 0, 7],
    ],
  )
  t.like(routes[0], { route: "api", requests: 105, errors: 5 })
  t.deepEqual(routes[0]?.durations, { bounds: [0.001, 0.01], counts: [50, 100, 100], sum: 1, count: 100 })
  t.like(upstreams[0], { upstream: "demo", requests: 100, breaker: "open" })
  t.deepEqual(drops, [{ protocol: "mqtt", reason: "queue-full", count: 4 }])
  t.deepEqual(sessions, { connected: 9 })
})

test("rates are over the time between two looks", (t) => {
  const text = renderTop(stats(1_000, 100, 0), stats(3_000, 300, 20))
  t.regex(text, /tidegate running, plan 3, up 1 d 1 h/)
  t.regex(text, /cpu 50 % {3}memory 128 MiB/)
  t.regex(text, /^api +110 +10\.0 +< 1 ms +< 10 ms$/m)
  t.regex(text, /^demo +100 +0\.0 +0 +0 +open$/m)
  t.regex(text, /^mqtt +queue-full +4 +0\.0$/m)
})

test("a quantile is the bound of its bucket, of what came between", (t) => {
  const durations = (counts: number[]) => ({ bounds: [0.001, 0.01], counts, sum: 0, count: counts.at(-1) ?? 0 })
  const before = durations([100, 100, 100])
  t.is(quantile(before, durations([100, 150, 200]), 0.5), "< 10 ms")
  t.is(quantile(before, durations([100, 150, 200]), 0.99), "> 10 ms")
  t.is(quantile(before, before, 0.5), "-")
  t.is(quantile(null, null, 0.5), "-")
})
