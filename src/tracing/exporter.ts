/**
 * Spans on their way to a collector (OTLP over HTTP): gathered in a bounded queue, sent by
 * the batch, tried again where the collector asks for it. What finds no room is counted,
 * never waited for.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type Source, toJson } from "./otlp-json.ts"
import { toProtobuf } from "./otlp-protobuf.ts"
import { type Span, type SpanRecord, toSpan } from "./span.ts"

export interface ExporterOptions extends Source {
  /** Where to, with the path. */
  readonly url: string
  readonly protocol: "http/protobuf" | "http/json"
  readonly headers: Readonly<Record<string, string>>
  readonly timeoutMs: number
  readonly maxQueue: number
  readonly maxBatch: number
  readonly delayMs: number
}

/** What became of spans since the start. */
export interface SpanCounts {
  exported: number
  /** The queue was full. */
  dropped: number
  /** The collector refused them or was not there. */
  failed: number
}

/** Answers that ask for another try (OTLP specification, "Failures"). */
const RETRIABLE = new Set([429, 502, 503, 504])
const TRIES = 5
const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [1_000, 30_000]
/** How long a gateway that closes waits for its last spans. */
const FAREWELL_MS = 3_000

export class SpanExporter {
  readonly #options: ExporterOptions
  readonly #counts: SpanCounts
  readonly #complain: (text: string) => void
  readonly #ended = new AbortController()
  #queue: Span[] = []
  #timer: NodeJS.Timeout | null = null
  #sending: Promise<void> | null = null
  #isWell = true

  constructor(options: ExporterOptions, counts: SpanCounts, complain: (text: string) => void) {
    this.#options = options
    this.#counts = counts
    this.#complain = complain
  }

  take(record: SpanRecord): void {
    if (this.#queue.length >= this.#options.maxQueue) {
      this.#counts.dropped += 1
      return
    }
    this.#queue.push(toSpan(record))
    if (this.#queue.length >= this.#options.maxBatch) this.#send()
    else this.#timer ??= setTimeout(() => this.#send(), this.#options.delayMs).unref()
  }

  /** Sends what there is, and gives up what takes too long. */
  async close(): Promise<void> {
    const timer = setTimeout(() => this.#ended.abort(), FAREWELL_MS)
    while (!this.#ended.signal.aborted && (this.#sending !== null || this.#queue.length > 0)) {
      this.#send()
      await this.#sending
    }
    clearTimeout(timer)
    this.#ended.abort()
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#counts.dropped += this.#queue.length
    this.#queue = []
  }

  /** One batch at a time; what comes meanwhile waits in the queue. */
  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#sending !== null || this.#queue.length === 0) return
    const batch = this.#queue.splice(0, this.#options.maxBatch)
    this.#sending = this.#export(batch).finally(() => {
      this.#sending = null
      if (this.#queue.length >= this.#options.maxBatch) this.#send()
      else if (this.#queue.length > 0) this.#timer ??= setTimeout(() => this.#send(), this.#options.delayMs).unref()
    })
  }

  async #export(batch: readonly Span[]): Promise<void> {
    const { protocol } = this.#options
    const body = protocol === "http/json" ? toJson(this.#options, batch) : toProtobuf(this.#options, batch)
    let why = ""
    for (let tries = 1; tries <= TRIES && !this.#ended.signal.aborted; tries++) {
      const wait = Math.min(FIRST_WAIT_MS * 2 ** (tries - 1), LONGEST_WAIT_MS) * (0.5 + Math.random() / 2)
      try {
        const { status, retryAfterMs } = await this.#post(body)
        if (status < 300) return this.#well(batch.length)
        why = `it answered ${status}`
        if (!RETRIABLE.has(status)) break
        if (tries < TRIES) await this.#pause(Math.max(wait, retryAfterMs))
      } catch (error) {
        why = error instanceof Error ? error.message : String(error)
        if (tries < TRIES) await this.#pause(wait)
      }
    }
    this.#counts.failed += batch.length
    if (this.#isWell) this.#complain(`spans do not reach ${this.#options.url}: ${why}`)
    this.#isWell = false
  }

  #well(count: number): void {
    this.#counts.exported += count
    this.#isWell = true
  }

  async #post(body: Buffer): Promise<{ status: number; retryAfterMs: number }> {
    const { url, protocol, headers, timeoutMs } = this.#options
    const contentType = protocol === "http/json" ? "application/json" : "application/x-protobuf"
    const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), this.#ended.signal])
    const answer = await fetch(url, {
      method: "POST",
      body,
      signal,
      headers: { ...headers, "content-type": contentType },
    })
    await answer.arrayBuffer()
    return { status: answer.status, retryAfterMs: Number(answer.headers.get("retry-after") ?? 0) * 1_000 || 0 }
  }

  async #pause(ms: number): Promise<void> {
    await sleep(Math.min(ms, LONGEST_WAIT_MS), undefined, { signal: this.#ended.signal, ref: false }).catch(() => {})
  }
}
