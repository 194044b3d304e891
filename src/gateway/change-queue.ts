/** Changes one after the other: what each starts from is what the one before left, whether it failed or not. */
export class ChangeQueue {
  #last: Promise<void> = Promise.resolve()

  run(change: () => Promise<void>): Promise<void> {
    const done = this.#last.then(change, change)
    this.#last = done.catch(() => undefined)
    return done
  }
}
