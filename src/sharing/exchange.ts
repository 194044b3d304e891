/**
 * Rate limits of several gateways as one: each tells the others every so often what passed, and each takes
 * that from its own buckets, into debt where need be. A gateway that hears nobody limits by itself.
 */
import { randomUUID } from "node:crypto"
import type { NormalizedRateLimits } from "../config/index.ts"
import { messageOf } from "../errors.ts"
import type { NativeGateway } from "../native/index.ts"
import { follow } from "../remote/index.ts"
import type { Channel, OpenChannel } from "./channel.ts"
import { openNats } from "./nats.ts"
import { openRedis } from "./redis.ts"

const CHANNELS: Readonly<Record<NormalizedRateLimits["kind"], OpenChannel>> = { redis: openRedis, nats: openNats }

/** Keys of one message, so that it stays far below what NATS takes. */
const MAX_KEYS = 2_000
const LONGEST_WAIT_MS = 5_000

type Spent = Readonly<Record<string, readonly (readonly [string, number])[]>>

interface Telling {
  readonly from: string
  readonly spent: Spent
}

/** Messages. */
export interface ExchangeCounts {
  sent: number
  received: number
  /** What passed meanwhile is not told any more. */
  failed: number
}

export class LimitExchange {
  readonly counts: ExchangeCounts = { sent: 0, received: 0, failed: 0 }
  readonly #native: Pick<NativeGateway, "takeSpent" | "chargeLimits">
  readonly #complain: (text: string) => void
  readonly #id = randomUUID()
  #ended = new AbortController()
  #channel: Channel | null = null
  #timer: NodeJS.Timeout | null = null
  #following = "null"

  constructor(native: Pick<NativeGateway, "takeSpent" | "chargeLimits">, complain: (text: string) => void) {
    this.#native = native
    this.#complain = complain
  }

  /** Takes over where a configuration shares its limits; null: nowhere. */
  use(config: NormalizedRateLimits | null): void {
    const next = JSON.stringify(config)
    if (next === this.#following) return
    this.#following = next
    this.close()
    if (config === null) return
    this.#ended = new AbortController()
    const { signal } = this.#ended
    this.#timer = setInterval(() => void this.#tell(), config.intervalMs).unref()
    void follow<string>({
      open: () => this.#open(config, signal),
      take: (text) => this.#hear(text),
      failed: (fault) => this.#complain(`rateLimits: ${config.kind} failed, this gateway limits by itself: ${fault}`),
      intervalMs: LONGEST_WAIT_MS,
      signal,
    })
  }

  close(): void {
    this.#ended.abort()
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  async *#open(config: NormalizedRateLimits, signal: AbortSignal): AsyncGenerator<string> {
    const channel = await CHANNELS[config.kind](config, signal)
    // Given up while it was opened: nobody would close it.
    if (signal.aborted) return channel.close()
    this.#channel = channel
    try {
      yield* channel.receive()
    } finally {
      this.#channel = null
      await channel.close()
    }
  }

  async #tell(): Promise<void> {
    const spent = JSON.parse(this.#native.takeSpent()) as Spent
    for (const part of parts(spent)) {
      try {
        if (this.#channel === null) throw new Error("there is no connection")
        await this.#channel.send(JSON.stringify({ from: this.#id, spent: part } satisfies Telling))
        this.counts.sent++
      } catch {
        // The connection is told lost on its own.
        this.counts.failed++
      }
    }
  }

  #hear(text: string): void {
    try {
      const { from, spent } = JSON.parse(text) as Telling
      if (from === this.#id) return
      this.#native.chargeLimits(JSON.stringify(spent))
      this.counts.received++
    } catch (error) {
      this.#complain(`rateLimits: what came by the channel is no telling of a gateway: ${messageOf(error)}`)
    }
  }
}

/** Messages of at most so many keys each. */
function* parts(spent: Spent): Generator<Spent> {
  for (const [name, keys] of Object.entries(spent)) {
    for (let at = 0; at < keys.length; at += MAX_KEYS) yield { [name]: keys.slice(at, at + MAX_KEYS) }
  }
}
