/**
 * One alert as a state machine without a clock:
 *
 *   quiet --beyond the bound--> pending --for `forMs`--> firing --back beyond `clearAt`--> quiet
 *   pending --within the bound--> quiet
 */
import type { NormalizedAlert } from "../config/index.ts"

export interface AlertState {
  readonly state: "quiet" | "pending" | "firing"
  /** Milliseconds since 1970 when this state began. */
  readonly since: number
  /** Of the last look; null: the metric is not there. */
  readonly value: number | null
}

/** What an alert tells when it changes. */
export type AlertChange = "firing" | "resolved"

type Rule = Pick<NormalizedAlert, "above" | "below" | "clearAt" | "forMs">

export function step(
  rule: Rule,
  before: AlertState,
  value: number | null,
  now: number,
): { state: AlertState; change: AlertChange | null } {
  const stays = (change: AlertChange | null = null) => ({ state: { ...before, value }, change })
  const becomes = (state: AlertState["state"], change: AlertChange | null = null) => {
    return { state: { state, since: now, value }, change }
  }
  if (before.state === "firing") return isOver(rule, value) ? becomes("quiet", "resolved") : stays()
  if (!isBeyond(rule, value)) return before.state === "quiet" ? stays() : becomes("quiet")
  const since = before.state === "pending" ? before.since : now
  if (now - since >= rule.forMs) return becomes("firing", "firing")
  return before.state === "pending" ? stays() : becomes("pending")
}

/** A metric that is not there is beyond nothing, and no reason to call off what fires. */
function isBeyond({ above, below }: Rule, value: number | null): boolean {
  if (value === null) return false
  return (above !== null && value > above) || (below !== null && value < below)
}

function isOver({ above, below, clearAt }: Rule, value: number | null): boolean {
  if (value === null) return false
  return (above === null || value <= (clearAt ?? above)) && (below === null || value >= (clearAt ?? below))
}
