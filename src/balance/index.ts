/** Balancing strategies: a new one is one file, one line here, and its Rust file of the same name. */
import type { BalancePlan } from "../native/index.ts"
import { toKeyPlan } from "../policy/index.ts"
import { consistentHashStrategy } from "./consistent-hash.ts"
import { ipHashStrategy } from "./ip-hash.ts"
import { leastConnectionsStrategy } from "./least-connections.ts"
import { loadScoreStrategy } from "./load-score.ts"
import { peakEwmaStrategy } from "./peak-ewma.ts"
import { roundRobinStrategy } from "./round-robin.ts"
import { weightedStrategy } from "./weighted.ts"

export { healthOfLoad } from "./load-score.ts"

export const STRATEGIES = {
  roundRobin: roundRobinStrategy,
  weighted: weightedStrategy,
  leastConnections: leastConnectionsStrategy,
  peakEwma: peakEwmaStrategy,
  ipHash: ipHashStrategy,
  consistentHash: consistentHashStrategy,
  loadScore: loadScoreStrategy,
}

export type StrategyName = keyof typeof STRATEGIES

/** Plan data for a validated `{ name: options }` or name. */
export function toBalancePlan(balance: string | Readonly<Record<string, unknown>>): BalancePlan {
  if (typeof balance === "object" && balance.custom !== undefined) return { strategy: "chosen", key: toKeyPlan("key") }
  const [name, given] = typeof balance === "string" ? [balance, {}] : (Object.entries(balance)[0] ?? ["roundRobin", {}])
  const { toPlan } = STRATEGIES[name as StrategyName] as { toPlan: (options: unknown) => BalancePlan }
  return toPlan(given)
}
