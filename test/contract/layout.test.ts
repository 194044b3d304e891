/** The shared memory has one layout: src/native/layout.ts and crates/ring say the same numbers. */
import { readFileSync } from "node:fs"
import test from "ava"
import fc from "fast-check"
import { createEventRing, EventRingReader } from "../../src/native/event-ring.ts"
import { writeEvent } from "../../src/native/fake-ring.ts"
import { DECISION_RING, EVENT_RING, LAYOUT_VERSION } from "../../src/native/index.ts"

const rust = readFileSync(new URL("../../crates/ring/src/layout.rs", import.meta.url), "utf8")

function constant(name: string): number {
  const [, value = ""] = new RegExp(`pub const ${name}: \\w+ = ([0-9xA-Fa-f_]+);`).exec(rust) ?? []
  return Number(value.replaceAll("_", ""))
}

test("both sides agree on every offset", (t) => {
  const { words, record, headerBytes, recordBytes } = EVENT_RING
  const { slot } = DECISION_RING
  const expected: Record<string, number> = {
    LAYOUT_VERSION,
    EVENT_VERSION: EVENT_RING.version,
    DECISION_VERSION: DECISION_RING.version,
    HEADER_BYTES: headerBytes,
    CAPACITY_AT: words.capacity * 4,
    SIZE_AT: words.recordBytes * 4,
    HEAD_AT: words.head * 4,
    TAIL_AT: words.tail * 4,
    DROPPED_AT: words.dropped * 4,
    WANTED_AT: words.wanted * 4,
    EVENT_BYTES: recordBytes,
    EVENT_KIND_AT: record.kind,
    EVENT_TEXT_LEN_AT: record.textLength,
    EVENT_A_AT: record.a,
    EVENT_B_AT: record.b,
    EVENT_C_AT: record.c,
    EVENT_TIME_AT: record.time,
    EVENT_D_AT: record.d,
    EVENT_TEXT_AT: record.text,
    EVENT_TEXT_INLINE: EVENT_RING.inlineText,
    SLOT_BYTES: DECISION_RING.slotBytes,
    SLOT_STATE_AT: slot.state * 4,
    SLOT_GENERATION_AT: slot.generation * 4,
    SLOT_KIND_AT: slot.kind * 4,
    SLOT_TARGET_AT: slot.script * 4,
    SLOT_QUESTION_LEN_AT: slot.requestLength * 4,
    SLOT_ANSWER_LEN_AT: slot.answerLength * 4,
    SLOT_OUTCOME_AT: slot.outcome * 4,
    SLOT_PLAN_AT: slot.planVersion * 4,
    SLOT_QUESTION_AT: DECISION_RING.requestAt,
    SLOT_QUESTION_MAX: DECISION_RING.requestBytes,
    SLOT_ANSWER_AT: DECISION_RING.answerAt,
    SLOT_ANSWER_MAX: DECISION_RING.answerBytes,
  }
  for (const [name, value] of Object.entries(expected)) t.is(constant(name), value, name)
})

test("whatever is written into an event ring is read from it, in order", (t) => {
  const event = fc.record({
    kind: fc.integer({ min: 1, max: 6 }),
    a: fc.nat(0xffff_ffff),
    b: fc.nat(0xffff_ffff),
    c: fc.nat(0xffff_ffff),
    d: fc.double({ noNaN: true }),
    time: fc.double({ noNaN: true }),
    text: fc.string({ unit: "grapheme", maxLength: 300 }),
  })
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const ring = createEventRing(64)
      const reader = new EventRingReader(ring)
      for (const written of events) {
        if (!writeEvent(ring, written)) continue
        const read: unknown[] = []
        reader.drain(10, ({ kind, a, b, c, d, time, text }) => read.push({ kind, a, b, c, d, time, text }))
        t.deepEqual(read, [written])
      }
    }),
    { numRuns: 50 },
  )
})
