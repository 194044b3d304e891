/**
 * Work that follows changes and costs the more the more there is to look at: at once where it is
 * quiet, later and once for many changes where much changes, never more than a share of the time.
 */

/** Of the time, while changes never stop. */
const SHARE = 0.1
/** Work that takes less is not worth a timer. */
const FREE_MS = 0.5

export class Paced {
  readonly #work: () => void | Promise<void>
  readonly #now: () => number
  #timer: NodeJS.Timeout | null = null
  #isWanted = false
  #isBusy = false
  #isClosed = false

  /**
   * What the work throws goes to the call that it is done in; what it rejects with is its own affair. `now` says in
   * milliseconds how long it took.
   */
  constructor(work: () => void | Promise<void>, now = (): number => performance.now()) {
    this.#work = work
    this.#now = now
  }

  /** Done now, or with the next turn. */
  call(): void {
    this.#isWanted = true
    if (this.#timer === null && !this.#isBusy && !this.#isClosed) this.#run()
  }

  close(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#isClosed = true
  }

  #run(): void {
    this.#isWanted = false
    this.#isBusy = true
    const from = this.#now()
    const rest = (): void => this.#rest(from)
    try {
      const done = this.#work()
      if (done === undefined) rest()
      else void done.then(rest, rest)
    } catch (error) {
      rest()
      throw error
    }
  }

  #rest(from: number): void {
    this.#isBusy = false
    if (this.#isClosed) return
    const took = this.#now() - from
    if (took < FREE_MS) {
      if (this.#isWanted) this.#run()
      return
    }
    this.#timer = setTimeout(
      () => {
        this.#timer = null
        if (this.#isWanted) this.#run()
      },
      (took * (1 - SHARE)) / SHARE,
    )
    this.#timer.unref()
  }
}
