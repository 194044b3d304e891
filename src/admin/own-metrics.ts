/** The numbers that only the control plane knows. */
import type { Gateway } from "../gateway/index.ts"
import type { Sample } from "../metrics/index.ts"
import type { OptimizerReport } from "../model/optimizer.ts"
import type { PolicyInfo } from "../model/shadow.ts"

export function ownMetrics(gateway: Gateway): readonly Sample[] {
  const { version, applies, eventsDropped, spans, policies, sharedLimits, optimizer } = gateway.stats()
  const exchanged = Object.entries(gateway.loaded.config.rateLimits === null ? {} : sharedLimits).map(
    ([outcome, count]): Sample => {
      return { metric: "tidegate_shared_limit_messages_total", labels: { outcome }, kind: "counter", values: [count] }
    },
  )
  const outcomes = Object.entries(applies).map(([outcome, count]): Sample => {
    return { metric: "tidegate_config_applies_total", labels: { outcome }, kind: "counter", values: [count] }
  })
  const traced = Object.entries(gateway.loaded.config.tracing === null ? {} : spans).map(([outcome, count]): Sample => {
    return { metric: "tidegate_spans_total", labels: { outcome }, kind: "counter", values: [count] }
  })
  return [
    ...traced,
    ...exchanged,
    { metric: "tidegate_config_version", labels: {}, kind: "gauge", values: [version] },
    { metric: "tidegate_ring_dropped_total", labels: {}, kind: "counter", values: [eventsDropped] },
    ...outcomes,
    ...optimizerSamples(optimizer),
    ...policies.flatMap(shadowSamples),
  ]
}

/** Nothing where no upstream has goals. */
function optimizerSamples({ upstreams, made }: OptimizerReport): Sample[] {
  if (upstreams.length === 0) return []
  const limits = upstreams.map(({ upstream, maxRequests }): Sample => {
    return { metric: "tidegate_optimizer_limit", labels: { upstream }, kind: "gauge", values: [maxRequests.now] }
  })
  const changes = Object.entries(made).map(([outcome, count]): Sample => {
    return { metric: "tidegate_optimizer_changes_total", labels: { outcome }, kind: "counter", values: [count] }
  })
  return [...limits, ...changes]
}

function shadowSamples({ name, shadow }: PolicyInfo): Sample[] {
  if (shadow === null) return []
  const { same, differs, error, skipped } = shadow
  return Object.entries({ same, differs, error, skipped }).map(([outcome, count]): Sample => {
    const labels = { policy: name, outcome }
    return { metric: "tidegate_policy_shadow_total", labels, kind: "counter", values: [count] }
  })
}
