/** The numbers that only the control plane knows. */
import type { Gateway } from "../gateway/index.ts"
import type { Sample } from "../metrics/index.ts"

export function ownMetrics(gateway: Gateway): readonly Sample[] {
  const { version, applies, eventsDropped, spans } = gateway.stats()
  const outcomes = Object.entries(applies).map(([outcome, count]): Sample => {
    return { metric: "tidegate_config_applies_total", labels: { outcome }, kind: "counter", values: [count] }
  })
  const traced = Object.entries(gateway.loaded.config.tracing === null ? {} : spans).map(([outcome, count]): Sample => {
    return { metric: "tidegate_spans_total", labels: { outcome }, kind: "counter", values: [count] }
  })
  return [
    ...traced,
    { metric: "tidegate_config_version", labels: {}, kind: "gauge", values: [version] },
    { metric: "tidegate_ring_dropped_total", labels: {}, kind: "counter", values: [eventsDropped] },
    ...outcomes,
  ]
}
