/** The native end of one policy thread, for tests: asks through a real ring and keeps the replies. */
import { type FakeAnswer, type FakeQuestion, readAnswer, writeQuestion } from "./fake-ring.ts"
import { DECISION_RING } from "./layout.ts"
import type { PolicyPort } from "./native.ts"

export class FakePolicyPort implements PolicyPort {
  /** What `handlerRequest` hands out. */
  request: Buffer = Buffer.alloc(0)
  readonly replies: { readonly head: unknown; readonly body: Buffer }[] = []
  detached = false
  /** What `policyPayload` hands out. */
  payload: Buffer | null = null
  /** What policies answered with. */
  readonly payloads: Buffer[] = []
  /** What `upstreams` answers. */
  upstreamList: unknown[] = []
  readonly #rings: readonly Uint8Array[]
  readonly #wake: () => void
  readonly #waiting = new Map<number, (answer: FakeAnswer) => void>()
  #uses = 0

  constructor(rings: readonly Uint8Array[], wake: () => void) {
    this.#rings = rings
    this.#wake = wake
  }

  /** Puts a question on the first ring; resolves with the answer once it was kicked. */
  ask(question: FakeQuestion): Promise<FakeAnswer> {
    const answer = this.#put(question)
    this.#wake()
    return answer
  }

  #put(question: FakeQuestion): Promise<FakeAnswer> {
    const use = this.#uses++
    const slot = use % DECISION_RING.slots
    const [ring] = this.#rings
    if (ring !== undefined) writeQuestion(ring, slot, use + 1, question)
    return new Promise((resolve) => this.#waiting.set(slot, resolve))
  }

  /** Puts `count` questions on the first ring at once; resolves when all are answered. */
  async askAll(count: number, question: FakeQuestion): Promise<readonly FakeAnswer[]> {
    const answers = Array.from({ length: count }, () => this.#put(question))
    this.#wake()
    return Promise.all(answers)
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

  policyPayload(): Buffer | null {
    return this.payload
  }

  policyAnswer(_worker: number, _slot: number, _generation: number, payload: Buffer): void {
    this.payloads.push(payload)
  }

  upstreams(): string {
    return JSON.stringify(this.upstreamList)
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
