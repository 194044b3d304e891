/**
 * The answering end of a decision ring: native queues slot indexes, this side reads
 * the declared fields from the slot and writes the verdict into the same slot. The
 * state word is stored last, so that native never sees half an answer.
 */
import { DECISION_RING, queueBytes, SLOT_STATE } from "./layout.ts"

const { words, slot: field, headerBytes, slotBytes } = DECISION_RING

/** One request, valid until it is answered. */
export interface DecisionRequest {
  readonly slot: number
  readonly generation: number
  readonly kind: number
  /** Script or handler index. */
  readonly index: number
  /** Plan the index belongs to; 0: the newest. */
  readonly planVersion: number
  /** Declared fields in order; null: the message has none. */
  readonly fields: readonly (string | null)[]
}

/** Memory for a ring, its header written. */
export function createDecisionRing(slots: number = DECISION_RING.slots): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(headerBytes + queueBytes(slots) + slots * slotBytes))
  const header = new Uint32Array(bytes.buffer, 0, headerBytes / 4)
  header[words.slots] = slots
  header[words.slotBytes] = slotBytes
  Atomics.store(header, words.version, DECISION_RING.version)
  return bytes
}

export class DecisionRing {
  /** Over the shared memory itself: text is decoded and encoded in place. */
  readonly #bytes: Buffer
  readonly #words: Uint32Array
  readonly #slots: number
  readonly #base: number

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
    this.#slots = this.#words[words.slots] ?? DECISION_RING.slots
    this.#base = headerBytes + queueBytes(this.#slots)
  }

  /** Takes at most `max` queued requests; true when more are waiting. */
  drain(max: number, take: (request: DecisionRequest) => void): boolean {
    const head = Atomics.load(this.#words, words.head)
    let tail = Atomics.load(this.#words, words.tail)
    for (let read = 0; read < max && tail !== head; read++) {
      const slot = Atomics.load(this.#words, headerBytes / 4 + (tail % this.#slots)) % this.#slots
      tail = (tail + 1) >>> 0
      Atomics.store(this.#words, words.tail, tail)
      take(this.#request(slot))
    }
    // Looked at again behind the store of the tail: native does it the other way round, so
    // that one of both sees the other and no record waits for the next wake-up.
    return tail !== Atomics.load(this.#words, words.head)
  }

  /** Writes the answer; false when native has given up on the request meanwhile. */
  answer(request: DecisionRequest, outcome: number, text: string): boolean {
    const at = this.#base + request.slot * slotBytes
    const word = at / 4
    if (Atomics.load(this.#words, word + field.state) !== SLOT_STATE.asked) return false
    if (Atomics.load(this.#words, word + field.generation) !== request.generation) return false
    const length = this.#write(text, at + DECISION_RING.answerAt)
    const fits = length <= DECISION_RING.answerBytes
    Atomics.store(this.#words, word + field.answerLength, fits ? length : 0)
    Atomics.store(this.#words, word + field.outcome, fits ? outcome : 2)
    Atomics.store(this.#words, word + field.state, SLOT_STATE.answered)
    return true
  }

  /** Bytes of the text, which stands at `at` if it fits. */
  #write(text: string, at: number): number {
    if (text === "") return 0
    // What fits whatever its characters are needs no counting.
    const length = text.length * 3 > DECISION_RING.answerBytes ? Buffer.byteLength(text, "utf8") : 0
    return length > DECISION_RING.answerBytes ? length : this.#bytes.write(text, at, "utf8")
  }

  #request(slot: number): DecisionRequest {
    const at = this.#base + slot * slotBytes
    const word = at / 4
    const value = (index: number): number => Atomics.load(this.#words, word + index)
    return {
      slot,
      generation: value(field.generation),
      kind: value(field.kind),
      index: value(field.script),
      planVersion: value(field.planVersion),
      fields: this.#fields(at + DECISION_RING.requestAt, value(field.requestLength)),
    }
  }

  #fields(at: number, length: number): (string | null)[] {
    const bytes = this.#bytes
    const end = at + Math.min(length, DECISION_RING.requestBytes)
    const fields: (string | null)[] = []
    for (let offset = at; offset + 2 <= end; ) {
      const size = bytes.readUInt16LE(offset)
      offset += 2
      fields.push(size === DECISION_RING.absent ? null : bytes.toString("utf8", offset, Math.min(end, offset + size)))
      if (size !== DECISION_RING.absent) offset += size
    }
    return fields
  }
}
