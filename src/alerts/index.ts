/** Alerts: rules over the metrics, and what they do. */

export type { AlertOutlets, AlertReport } from "./actions.ts"
export { AlertBoard, type AlertBoardOptions, type AlertRow } from "./board.ts"
export { Meter } from "./meter.ts"
export { type AlertChange, type AlertState, step } from "./rule.ts"
