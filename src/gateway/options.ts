/** What a gateway is made with and what it tells of itself. Types only. */

import type { AlertRow } from "../alerts/index.ts"
import type { PolicyInfo } from "../model/shadow.ts"
import type { BoundListener, NativeModule } from "../native/index.ts"
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
}
