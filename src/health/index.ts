/** Active checks and the verdicts they come to. */

export { type CheckedUpstream, HealthBoard, type HealthWatcher } from "./board.ts"
export type { Check } from "./check.ts"
export { type HealthState, type HealthStatus, judge, nextDelay, UNKNOWN } from "./verdict.ts"
