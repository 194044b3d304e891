/**
 * Rise and fall of one endpoint, as a state machine without a clock:
 *
 *   unknown --pass--> healthy --`fall` fails in a row--> unhealthy --`rise` passes in a row--> healthy
 *   unknown --fail x fall--> unhealthy
 */
export type HealthStatus = "unknown" | "healthy" | "unhealthy"

export interface HealthState {
  readonly status: HealthStatus
  /** Results in a row that speak against the status. */
  readonly against: number
}

export const UNKNOWN: HealthState = { status: "unknown", against: 0 }

/** The state after one more result. The first pass of an unknown endpoint is enough. */
export function judge(
  state: HealthState,
  passed: boolean,
  { rise, fall }: { rise: number; fall: number },
): HealthState {
  if (state.status === "unknown" && passed) return { status: "healthy", against: 0 }
  if (state.status === (passed ? "healthy" : "unhealthy")) return { ...state, against: 0 }
  const against = state.against + 1
  if (against < (passed ? rise : fall)) return { ...state, against }
  return { status: passed ? "healthy" : "unhealthy", against: 0 }
}

/** Milliseconds to the next check: a third of the interval while the verdict is about to change. */
export function nextDelay({ status, against }: HealthState, intervalMs: number): number {
  return against > 0 || status === "unknown" ? Math.max(10, Math.ceil(intervalMs / 3)) : intervalMs
}
