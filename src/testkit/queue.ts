/** What arrived and nobody has asked for yet, in order; bounded. */
import { TidegateError } from "../errors.ts"

/** Beyond it a test has lost its way. */
const MOST = 100_000
const WAIT_MS = 5_000

export class Queue<T> {
  readonly #what: string
  readonly #items: T[] = []
  #wake: (() => void) | null = null
  #ended: Error | null = null

  /** `what` stands in the error of a wait that was in vain. */
  constructor(what: string) {
    this.#what = what
  }

  get length(): number {
    return this.#items.length
  }

  push(item: T): void {
    if (this.#items.length >= MOST) return this.end(new Error(`more than ${MOST} ${this.#what} wait`))
    this.#items.push(item)
    this.#wake?.()
  }

  /** Whoever waits, and whoever asks once it is empty, gets this error. */
  end(error: Error): void {
    this.#ended ??= error
    this.#wake?.()
  }

  /** The next one; throws TEST_TIMEOUT after `timeoutMs`. */
  async next(timeoutMs: number = WAIT_MS): Promise<T> {
    const until = performance.now() + timeoutMs
    for (;;) {
      const item = this.#items.shift()
      if (item !== undefined) return item
      if (this.#ended !== null) throw this.#ended
      const left = until - performance.now()
      if (left <= 0) throw new TidegateError("TEST_TIMEOUT", `no ${this.#what} within ${timeoutMs} ms`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
  }
}
