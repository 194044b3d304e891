/** Runs policies and handlers in whatever thread holds it. Apart from their declaration, so that importing the package is cheap. */
export { payloadOf } from "./broker-verdict.ts"
export { createPolicyMessage } from "./message.ts"
export { type Complain, PolicyRunner, type Program, type RunningMark, type Script } from "./runner.ts"
export { toVerdictRecord, type VerdictRecord } from "./verdict.ts"
