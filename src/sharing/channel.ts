/** What carries the tellings: every gateway gets what every other one says, nobody keeps it. */
import type { NormalizedRateLimits } from "../config/index.ts"

export interface Channel {
  /** Not more than a mebibyte; rejects when it is certain that nobody gets it. */
  send(text: string): Promise<void>
  /** What others say, and what this one says too. Throws when the connection is gone. */
  receive(): AsyncIterable<string>
  close(): Promise<void>
}

/** Connects; throws when the server does not answer within 5 s. */
export type OpenChannel = (config: NormalizedRateLimits, signal: AbortSignal) => Promise<Channel>

/** Texts that come by callbacks, as an iterator with room for so many; older ones give way. */
const MAX_WAITING = 1_000

export class Inbox {
  readonly #waiting: string[] = []
  #fault: Error | null = null
  #isOver = false
  #wake = (): void => undefined

  push(text: string): void {
    if (this.#waiting.length >= MAX_WAITING) this.#waiting.shift()
    this.#waiting.push(text)
    this.#wake()
  }

  /** Null: it is wanted so. */
  end(fault: Error | null): void {
    this.#fault ??= fault
    this.#isOver = true
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<string> {
    for (;;) {
      const text = this.#waiting.shift()
      if (text !== undefined) yield text
      else if (this.#fault !== null) throw this.#fault
      else if (this.#isOver) return
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
  }
}
