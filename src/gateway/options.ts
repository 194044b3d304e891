/** What a gateway is made with and what it tells of itself. */

import type { AlertRow } from "../alerts/index.ts"
import type { OptimizerReport } from "../model/optimizer.ts"
import type { PolicyInfo } from "../model/shadow.ts"
import type { BoundListener, NativeModule } from "../native/index.ts"
import type { ExchangeCounts } from "../sharing/index.ts"
import type { SpanCounts } from "../tracing/index.ts"
import type { CreatePolicyHost } from "./policy-host.ts"

export interface GatewayOptions {
  /** Default: the addon. Tests give a `FakeNative`. */
  readonly native?: NativeModule
  /** Milliseconds since 1970 for the registry; default Date.now. */
  readonly now?: () => number
  /** Default: policies run in the calling thread. */
  readonly policyHost?: CreatePolicyHost
}

export type GatewayState = "created" | "running" | "draining" | "closed"

export interface GatewayStats {
  readonly state: GatewayState
  readonly version: number
  readonly listeners: readonly BoundListener[]
  readonly applies: Readonly<Record<"applied" | "refused", number>>
  readonly eventsDropped: number
  /** What became of spans. */
  readonly spans: SpanCounts
  readonly alerts: readonly AlertRow[]
  readonly policies: readonly PolicyInfo[]
  readonly optimizer: OptimizerReport
  /** Messages about limits that gateways share. */
  readonly sharedLimits: Readonly<ExchangeCounts>
}

/** Of parts that only a running gateway has. */
export type EngineCounts = Pick<GatewayStats, "spans" | "alerts" | "optimizer" | "sharedLimits">

export const NO_COUNTS: EngineCounts = {
  spans: { exported: 0, dropped: 0, failed: 0 },
  alerts: [],
  optimizer: { mode: "propose", upstreams: [], made: { proposed: 0, applied: 0, undone: 0, dropped: 0 }, changes: [] },
  sharedLimits: { sent: 0, received: 0, failed: 0 },
}
