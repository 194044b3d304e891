/**
 * Every offset of the shared memory between TypeScript and Rust, in one table;
 * `crates/ring` holds the same numbers. Little endian. Both sides check the version
 * words before the first record. Word offsets count 32-bit words, the rest bytes.
 */

/** Goes up whenever a number in this file changes its meaning. */
export const LAYOUT_VERSION = 2

/** Native to TypeScript: telemetry and messages for API subscribers, one ring per worker. */
export const EVENT_RING = {
  version: 0x5447_0001,
  headerBytes: 64,
  recordBytes: 64,
  /** Text bytes that stand in the record itself; the rest fills continuation records. */
  inlineText: 32,
  /** Default number of records; a power of two. */
  capacity: 16_384,
  words: { version: 0, capacity: 1, recordBytes: 2, head: 3, tail: 4, dropped: 5, wanted: 6 },
  record: { kind: 0, textLength: 2, a: 4, b: 8, c: 12, time: 16, d: 24, text: 32 },
} as const

/** Kinds of event records. `words.wanted` has bit `1 << kind` set for the kinds somebody listens to. */
export const EVENT_KIND = {
  /** a route index, b status, c upstream index or NONE, d duration in us, text `METHOD path flag`. */
  access: 1,
  connectionOpened: 2,
  connectionClosed: 3,
  endpoint: 4,
  /** a subscription id, text JSON `{ topic, qos, retain, bytes, payload (base64) }`. */
  message: 5,
  /** a level as in pino (10 to 60), text. */
  log: 6,
  /** text JSON of a span, see `tracing/span.ts`. */
  span: 7,
  /** The resource directory of CoAP has changed. */
  directory: 8,
} as const

/** Stands for "no index". */
export const NONE = 0xffff_ffff

/** TypeScript answers in place: one ring per worker and policy thread. */
export const DECISION_RING = {
  version: 0x5447_0002,
  headerBytes: 64,
  slots: 512,
  slotBytes: 2048,
  words: { version: 0, slots: 1, slotBytes: 2, head: 3, tail: 4 },
  slot: {
    state: 0,
    generation: 1,
    kind: 2,
    script: 3,
    requestLength: 4,
    answerLength: 5,
    outcome: 6,
    /** `Plan.version` the script index belongs to; 0: the newest. */
    planVersion: 7,
  },
  requestAt: 32,
  requestBytes: 992,
  /** JSON of a verdict; nothing where it changes nothing. */
  answerAt: 1024,
  answerBytes: 1024,
  /** Length of a field that the message does not have. */
  absent: 0xffff,
} as const

export const SLOT_STATE = { free: 0, asked: 1, answered: 2 } as const
export const SLOT_KIND = { decision: 1, handler: 2 } as const
export const SLOT_OUTCOME = { ok: 0, threw: 1, invalid: 2 } as const

/** Bytes of the slot-index queue that follows the header, padded to a cache line. */
export function queueBytes(slots: number): number {
  return Math.ceil((slots * 4) / 64) * 64
}
