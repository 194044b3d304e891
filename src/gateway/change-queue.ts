/** Changes one after the other: what each starts from is what the one before left, whether it failed or not. */
export class ChangeQueue {
  #last: Promise<void> = Promise.resolve()
  #refreshing = false

  run(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change, change)
    this.#last = done.catch(() => undefined)
    return done
  }

  /** At most one of these waits: calls that come until it starts are the same one. */
  async refresh(change: () => Promise<void>): Promise<void> {
    if (this.#refreshing) return
    this.#refreshing = true
    await this.run(() => {
      this.#refreshing = false
      return change()
    })
  }
}
