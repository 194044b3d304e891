/** The native end of one policy thread, for tests: asks through a real ring and keeps the replies. */
import { type FakeAnswer, type FakeQuestion, readAnswer, writeQuestion } from "./fake-ring.ts"
import type { PolicyPort } from "./native.ts"

export class FakePolicyPort implements PolicyPort {
  /** What `handlerRequest` hands out. */
  request: Buffer = Buffer.alloc(0)
  readonly replies: { readonly head: unknown; readonly body: Buffer }[] = []
  detached = false
  readonly #rings: readonly Uint8Array[]
  readonly #wake: () => void
  readonly #waiting = new Map<number, (answer: FakeAnswer) => void>()
  #slot = 0

  constructor(rings: readonly Uint8Array[], wake: () => void) {
    this.#rings = rings
    this.#wake = wake
  }

  /** Puts a question on the first ring; resolves with the answer once it was kicked. */
  ask(question: FakeQuestion): Promise<FakeAnswer> {
    const slot = this.#slot++
    const [ring] = this.#rings
    if (ring !== undefined) writeQuestion(ring, slot, slot + 1, question)
    return new Promise((resolve) => {
      this.#waiting.set(slot, resolve)
      this.#wake()
    })
  }

  kick(worker: number): void {
    const ring = this.#rings[worker]
    for (const [slot, resolve] of this.#waiting) {
      const answer = ring === undefined ? null : readAnswer(ring, slot)
      if (answer === null) continue
      this.#waiting.delete(slot)
      resolve(answer)
    }
  }

  handlerRequest(): Buffer {
    return this.request
  }

  handlerReply(_worker: number, _slot: number, _generation: number, headJson: string, body: Buffer): void {
    this.replies.push({ head: JSON.parse(headJson), body })
  }

  detach(): void {
    this.detached = true
  }
}
