/** `tracing`, with every default. Types only. */
/** Where spans go, and which. */
export interface NormalizedTracing {
  readonly url: string
  readonly protocol: "http/protobuf" | "http/json"
  /** Resolved: never printed. */
  readonly headers: Readonly<Record<string, string>>
  readonly ratio: number
  readonly serviceName: string
  readonly attributes: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly delayMs: number
  readonly maxQueue: number
  readonly maxBatch: number
}
