/** One scrape as numbers by protocol, route and upstream: what `tidegate top` and the dashboard show. */
import type { Durations, Snapshot } from "../model/snapshot.ts"
import type { Sample } from "./scrape.ts"

const BREAKERS = ["closed", "half-open", "open"]

export function snapshotOf(samples: readonly Sample[]): Snapshot {
  const table = new Table(samples)
  const sum = (metric: string, labels: Labels = {}): number => table.sum(metric, labels)
  return {
    protocols: table.values("protocol", ["tidegate_connections", "tidegate_messages_total"]).map((protocol) => ({
      protocol,
      connections: sum("tidegate_connections", { protocol }),
      accepted: sum("tidegate_connections_total", { protocol, outcome: "accepted" }),
      requests: sum("tidegate_requests_total", { protocol }),
      messagesIn: sum("tidegate_messages_total", { protocol, direction: "in" }),
      messagesOut: sum("tidegate_messages_total", { protocol, direction: "out" }),
      bytesIn: sum("tidegate_message_bytes_total", { protocol, direction: "in" }),
      bytesOut: sum("tidegate_message_bytes_total", { protocol, direction: "out" }),
    })),
    routes: table.values("route", ["tidegate_requests_total"]).map((route) => ({
      route,
      requests: sum("tidegate_requests_total", { route }),
      errors: table.errors("tidegate_requests_total", { route }),
      durations: table.durations("tidegate_request_duration_seconds", { route }),
    })),
    upstreams: table
      .values("upstream", ["tidegate_upstream_connections", "tidegate_upstream_requests_total"])
      .map((upstream) => ({
        upstream,
        requests: sum("tidegate_upstream_requests_total", { upstream }),
        errors: table.errors("tidegate_upstream_requests_total", { upstream }),
        active: sum("tidegate_upstream_connections", { upstream, state: "active" }),
        idle: sum("tidegate_upstream_connections", { upstream, state: "idle" }),
        breaker: table.has("tidegate_breaker_state", { upstream })
          ? (BREAKERS[sum("tidegate_breaker_state", { upstream })] ?? null)
          : null,
      })),
    policies: table.values("policy", ["tidegate_policy_calls_total"]).map((policy) => ({
      policy,
      calls: table.by("outcome", "tidegate_policy_calls_total", { policy }),
      seconds: table.durations("tidegate_policy_duration_seconds", { policy })?.sum ?? 0,
    })),
    drops: table
      .samples("tidegate_dropped_total", {})
      .map(({ labels, values }) => ({
        protocol: labels.protocol ?? "",
        reason: labels.reason ?? "",
        count: values[0] ?? 0,
      }))
      .filter(({ count }) => count > 0),
    sessions: table.by("state", "tidegate_mqtt_sessions", {}),
    retained: sum("tidegate_retained_messages"),
    queued: sum("tidegate_queued_messages"),
  }
}

type Labels = Readonly<Record<string, string>>

class Table {
  readonly #byMetric = new Map<string, Sample[]>()

  constructor(samples: readonly Sample[]) {
    for (const sample of samples) {
      const known = this.#byMetric.get(sample.metric)
      if (known === undefined) this.#byMetric.set(sample.metric, [sample])
      else known.push(sample)
    }
  }

  samples(metric: string, labels: Labels): readonly Sample[] {
    const wanted = Object.entries(labels)
    const all = this.#byMetric.get(metric) ?? []
    return all.filter((sample) => wanted.every(([label, value]) => sample.labels[label] === value))
  }

  has(metric: string, labels: Labels): boolean {
    return this.samples(metric, labels).length > 0
  }

  sum(metric: string, labels: Labels): number {
    return this.samples(metric, labels).reduce((sum, { values }) => sum + (values[0] ?? 0), 0)
  }

  errors(metric: string, labels: Labels): number {
    const failed = this.samples(metric, labels).filter(({ labels: { code = "" } }) => code.startsWith("5"))
    return failed.reduce((sum, { values }) => sum + (values[0] ?? 0), 0)
  }

  /** Sums by the value of a label. */
  by(label: string, metric: string, labels: Labels): Record<string, number> {
    const sums: Record<string, number> = {}
    for (const sample of this.samples(metric, labels)) {
      const key = sample.labels[label] ?? ""
      sums[key] = (sums[key] ?? 0) + (sample.values[0] ?? 0)
    }
    return sums
  }

  /** Values that a label has among these metrics, sorted. */
  values(label: string, metrics: readonly string[]): string[] {
    const all = metrics.flatMap((metric) => this.samples(metric, {}).map(({ labels }) => labels[label]))
    return [...new Set(all.filter((value) => value !== undefined && value !== "none"))].sort() as string[]
  }

  /** Histograms of the same bounds, added up; null where there is none. */
  durations(metric: string, labels: Labels): Durations | null {
    const samples = this.samples(metric, labels)
    const bounds = samples[0]?.buckets
    if (bounds === undefined) return null
    const values = bounds.map(() => 0).concat([0, 0, 0])
    for (const sample of samples)
      for (const [index, value] of sample.values.entries()) values[index] = (values[index] ?? 0) + value
    const [sum = 0, count = 0] = values.slice(bounds.length + 1)
    return { bounds, counts: values.slice(0, bounds.length + 1), sum, count }
  }
}
