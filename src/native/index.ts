/** The door to the native side: nothing outside this folder touches the addon or shared memory layout. */
export { createDecisionRing, type DecisionRequest, DecisionRing } from "./decision-ring.ts"
export { createEventRing, type EventRecord, EventRingReader } from "./event-ring.ts"
export { FakeGateway, FakeNative, FakePolicyPort, type FakeSeries } from "./fake.ts"
export { DECISION_RING, EVENT_KIND, EVENT_RING, LAYOUT_VERSION, NONE, SLOT_KIND, SLOT_OUTCOME } from "./layout.ts"
export { loadNative, platformName } from "./load.ts"
export type * from "./native.ts"
export { toTidegateError } from "./native-errors.ts"
export type * from "./plan.ts"
