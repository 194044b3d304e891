/**
 * The reading end of a worker's event ring. Native appends records and moves `head`;
 * this side reads up to a bound and moves `tail`. Native publishes only the kinds that
 * somebody wants. All machines that the addon is built for are little-endian.
 */
import { EVENT_RING } from "./layout.ts"

/**
 * A record; what a, b, c and d mean depends on the kind. The reader hands over the same
 * object each time, filled anew: it holds until `take` returns, and only who reads `text`
 * pays for the string.
 */
export interface EventRecord {
  readonly kind: number
  readonly a: number
  readonly b: number
  readonly c: number
  readonly d: number
  /** Milliseconds since 1970. */
  readonly time: number
  readonly text: string
}

const { words, record: field, headerBytes, recordBytes, inlineText } = EVENT_RING

/** Memory for a ring of `capacity` records (a power of two), its header written. */
export function createEventRing(capacity: number = EVENT_RING.capacity): Uint8Array {
  const bytes = new Uint8Array(new SharedArrayBuffer(headerBytes + capacity * recordBytes))
  const header = new Uint32Array(bytes.buffer, 0, headerBytes / 4)
  header[words.capacity] = capacity
  header[words.recordBytes] = recordBytes
  Atomics.store(header, words.version, EVENT_RING.version)
  return bytes
}

export class EventRingReader {
  readonly #header: Uint32Array
  readonly #mask: number
  readonly #record: Cursor

  constructor(bytes: Uint8Array) {
    this.#header = new Uint32Array(bytes.buffer, bytes.byteOffset, headerBytes / 4)
    this.#mask = (this.#header[words.capacity] ?? 1) - 1
    this.#record = new Cursor(bytes, this.#mask)
  }

  /** Records lost because the ring was full. */
  get dropped(): number {
    return Atomics.load(this.#header, words.dropped)
  }

  /** Says which kinds somebody listens to; the others are not published. */
  want(kinds: Iterable<number>): void {
    let mask = 0
    for (const kind of kinds) mask |= 1 << kind
    Atomics.store(this.#header, words.wanted, mask)
  }

  /** Hands over at most `max` records, oldest first; true when more are waiting. */
  drain(max: number, take: (event: EventRecord) => void): boolean {
    const head = Atomics.load(this.#header, words.head)
    const record = this.#record
    let tail = Atomics.load(this.#header, words.tail)
    for (let read = 0; read < max && tail !== head; read++) {
      const next = (tail + record.moveTo(tail)) >>> 0
      try {
        take(record)
      } finally {
        // Behind `take`, which reads in place.
        Atomics.store(this.#header, words.tail, next)
      }
      tail = next
    }
    // Looked at again behind the store of the tail: native does it the other way round, so
    // that one of both sees the other and no record waits for the next wake-up.
    return tail !== Atomics.load(this.#header, words.head)
  }
}

/** The record that is read, in place. */
class Cursor implements EventRecord {
  kind = 0
  a = 0
  b = 0
  c = 0
  d = 0
  time = 0
  readonly #bytes: Buffer
  readonly #words: Uint32Array
  readonly #floats: Float64Array
  readonly #mask: number
  #index = 0
  #length = 0

  constructor(bytes: Uint8Array, mask: number) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#words = new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
    this.#floats = new Float64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8)
    this.#mask = mask
  }

  /** Takes up the record at `index`; the slots that it fills. */
  moveTo(index: number): number {
    const word = this.#offset(index) >>> 2
    const kindAndLength = this.#words[word] ?? 0
    this.kind = kindAndLength & 0xffff
    this.a = this.#words[word + field.a / 4] ?? 0
    this.b = this.#words[word + field.b / 4] ?? 0
    this.c = this.#words[word + field.c / 4] ?? 0
    this.time = this.#floats[(word + field.time / 4) >>> 1] ?? 0
    this.d = this.#floats[(word + field.d / 4) >>> 1] ?? 0
    this.#index = index
    this.#length = kindAndLength >>> 16
    return slotsOf(this.#length)
  }

  get text(): string {
    const length = this.#length
    const first = this.#offset(this.#index) + field.text
    if (length <= inlineText) return this.#bytes.toString("utf8", first, first + length)
    const text = Buffer.allocUnsafe(length)
    this.#bytes.copy(text, 0, first, first + inlineText)
    for (let done = inlineText, slot = this.#index + 1; done < length; done += recordBytes, slot++) {
      const at = this.#offset(slot)
      this.#bytes.copy(text, done, at, at + Math.min(length - done, recordBytes))
    }
    return text.toString("utf8")
  }

  #offset(index: number): number {
    return headerBytes + (index & this.#mask) * recordBytes
  }
}

/** Records that a text of `length` bytes takes, its own included. */
export function slotsOf(length: number): number {
  return length <= inlineText ? 1 : 1 + Math.ceil((length - inlineText) / recordBytes)
}
