/** What the admin API answers, as far as the page shows it. */
import type { Snapshot } from "../model/snapshot.ts"

export interface Stats extends Snapshot {
  readonly at: number
  readonly state: string
  readonly version: number
  readonly listeners: readonly { readonly name: string; readonly address: string }[]
  readonly process: {
    readonly uptimeSeconds: number
    readonly residentBytes: number
    readonly cpuSeconds: number
    readonly eventLoopLagMs: number
  }
}

export interface Upstream {
  readonly name: string
  readonly breaker: string | null
  readonly problem: string | null
  readonly endpoints: readonly {
    readonly id: string
    readonly address: string
    readonly health: string
    readonly healthShare: number
    readonly weight: number
    readonly active: number
    readonly draining: boolean
    readonly ejectedUntil: number | null
  }[]
}

export interface Connection {
  readonly id: string
  readonly protocol: string
  readonly peer: string
  readonly clientId: string | null
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface MqttClient {
  readonly clientId: string
  readonly connected: boolean
  readonly queued: number
  readonly queuedBytes: number
  readonly inflight: number
}

export interface Route {
  readonly name: string
  readonly status: string
  readonly problem: string | null
}

export interface Items<T> {
  readonly items: readonly T[]
  readonly nextCursor?: string | null
}
