/**
 * The native ends of both rings, in TypeScript: what `crates/ring` does, for tests of
 * the control plane and of the layout itself. Not used by a running gateway.
 */

import type { EventRecord } from "./event-ring.ts"
import { slotsOf } from "./event-ring.ts"
import { DECISION_RING, EVENT_RING, queueBytes, SLOT_STATE } from "./layout.ts"

/** What a test asks the policy thread. */
export interface FakeQuestion {
  readonly kind: number
  readonly index: number
  readonly planVersion?: number
  readonly fields?: readonly (string | null)[]
}

export interface FakeAnswer {
  readonly outcome: number
  readonly text: string
}

/** Appends one record; false when the ring is full and the record was counted as dropped. */
export function writeEvent(ring: Uint8Array, event: Partial<EventRecord> & { readonly kind: number }): boolean {
  const { words, record: field, headerBytes, recordBytes, inlineText } = EVENT_RING
  const header = new Uint32Array(ring.buffer, ring.byteOffset, headerBytes / 4)
  const capacity = header[words.capacity] ?? 0
  const text = Buffer.from(event.text ?? "", "utf8")
  const slots = slotsOf(text.length)
  const head = Atomics.load(header, words.head)
  const used = (head - Atomics.load(header, words.tail)) >>> 0
  if (used + slots > capacity) {
    Atomics.add(header, words.dropped, 1)
    return false
  }
  const offset = (index: number): number => headerBytes + (index & (capacity - 1)) * recordBytes
  const view = new DataView(ring.buffer, ring.byteOffset, ring.byteLength)
  const at = offset(head)
  view.setUint16(at + field.kind, event.kind, true)
  view.setUint16(at + field.textLength, text.length, true)
  view.setUint32(at + field.a, event.a ?? 0, true)
  view.setUint32(at + field.b, event.b ?? 0, true)
  view.setUint32(at + field.c, event.c ?? 0, true)
  view.setFloat64(at + field.time, event.time ?? 0, true)
  view.setFloat64(at + field.d, event.d ?? 0, true)
  ring.set(text.subarray(0, inlineText), at + field.text)
  for (let slot = 1; slot < slots; slot++) {
    const done = inlineText + (slot - 1) * recordBytes
    ring.set(text.subarray(done, done + recordBytes), offset(head + slot))
  }
  Atomics.store(header, words.head, (head + slots) >>> 0)
  return true
}

/** Queues one request in `slot`. */
export function writeQuestion(ring: Uint8Array, slot: number, generation: number, question: FakeQuestion): void {
  const { words, slot: field, headerBytes, slotBytes } = DECISION_RING
  const header = new Uint32Array(ring.buffer, ring.byteOffset, ring.byteLength / 4)
  const slots = header[words.slots] ?? 0
  const at = headerBytes + queueBytes(slots) + slot * slotBytes
  const request = encodeFields(question.fields ?? [])
  ring.set(request, at + DECISION_RING.requestAt)
  const word = at / 4
  header[word + field.generation] = generation
  header[word + field.kind] = question.kind
  header[word + field.script] = question.index
  header[word + field.requestLength] = request.length
  header[word + field.planVersion] = question.planVersion ?? 0
  Atomics.store(header, word + field.state, SLOT_STATE.asked)
  const head = Atomics.load(header, words.head)
  Atomics.store(header, headerBytes / 4 + (head % slots), slot)
  Atomics.store(header, words.head, (head + 1) >>> 0)
}

/** The answer in `slot`, or null while it is not there. */
export function readAnswer(ring: Uint8Array, slot: number): FakeAnswer | null {
  const { words, slot: field, headerBytes, slotBytes } = DECISION_RING
  const header = new Uint32Array(ring.buffer, ring.byteOffset, ring.byteLength / 4)
  const at = headerBytes + queueBytes(header[words.slots] ?? 0) + slot * slotBytes
  const word = at / 4
  if (Atomics.load(header, word + field.state) !== SLOT_STATE.answered) return null
  Atomics.store(header, word + field.state, SLOT_STATE.free)
  const start = at + DECISION_RING.answerAt
  const text = Buffer.from(ring.subarray(start, start + (header[word + field.answerLength] ?? 0))).toString("utf8")
  return { outcome: header[word + field.outcome] ?? 0, text }
}

function encodeFields(fields: readonly (string | null)[]): Buffer {
  const parts = fields.map((value) => {
    const text = Buffer.from(value ?? "", "utf8")
    const head = Buffer.alloc(2)
    head.writeUInt16LE(value === null ? DECISION_RING.absent : text.length)
    return Buffer.concat([head, text])
  })
  return Buffer.concat(parts)
}
