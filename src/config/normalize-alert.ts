/** `alerts` with their defaults. */
import type { NormalizedAlert } from "./normalized.ts"
import type { ConfigData } from "./schema/index.ts"

export function normalizeAlert(data: NonNullable<ConfigData["alerts"]>[number]): NormalizedAlert {
  const { name, metric, labels = {}, per, quantile = null, above = null, below = null } = data
  return {
    name,
    metric,
    labels,
    perSecond: per === "second",
    quantile,
    above,
    below,
    clearAt: data.clearAt ?? null,
    forMs: data.forMs ?? 0,
    actions: data.do.map(({ log = null, webhook = null, topic = null, command = [] }) => {
      return { log, webhook, topic, command }
    }),
  }
}
