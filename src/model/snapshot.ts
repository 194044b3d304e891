/** The numbers of one moment by protocol, route, upstream and policy: what `/v1/stats` answers. Types only. */

/** A histogram as it came: cumulative counts per bound, the last one unbounded. Seconds. */
export interface Durations {
  readonly bounds: readonly number[]
  readonly counts: readonly number[]
  readonly sum: number
  readonly count: number
}

export interface ProtocolNumbers {
  readonly protocol: string
  readonly connections: number
  readonly accepted: number
  readonly requests: number
  readonly messagesIn: number
  readonly messagesOut: number
  readonly bytesIn: number
  readonly bytesOut: number
}

export interface RouteNumbers {
  readonly route: string
  readonly requests: number
  /** Answers of 500 and above. */
  readonly errors: number
  readonly durations: Durations | null
}

export interface UpstreamNumbers {
  readonly upstream: string
  readonly requests: number
  readonly errors: number
  readonly active: number
  readonly idle: number
  /** `closed`, `half-open`, `open`; null without a breaker. */
  readonly breaker: string | null
}

export interface PolicyNumbers {
  readonly policy: string
  readonly calls: Readonly<Record<string, number>>
  readonly seconds: number
}

/** Totals since the start, and gauges of this moment. */
export interface Snapshot {
  readonly protocols: readonly ProtocolNumbers[]
  readonly routes: readonly RouteNumbers[]
  readonly upstreams: readonly UpstreamNumbers[]
  readonly policies: readonly PolicyNumbers[]
  readonly drops: readonly { readonly protocol: string; readonly reason: string; readonly count: number }[]
  readonly sessions: Readonly<Record<string, number>>
  readonly retained: number
  readonly queued: number
}
