/**
 * The reading end of a worker's event ring. Native appends records and moves `head`;
 * this side decodes up to a bound and moves `tail`. A record is only made into an
 * object here when its kind is wanted; native does not publish the others.
 */
import { EVENT_RING } from "./layout.ts"

/** One decoded record; what a, b, c and d mean depends on the kind. */
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
  readonly #view: DataView
  readonly #bytes: Uint8Array
  readonly #mask: number

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#header = new Uint32Array(bytes.buffer, bytes.byteOffset, headerBytes / 4)
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#mask = (this.#header[words.capacity] ?? 1) - 1
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
    let tail = Atomics.load(this.#header, words.tail)
    for (let read = 0; read < max && tail !== head; read++) {
      const event = this.#read(tail)
      tail = (tail + slotsOf(event.length)) >>> 0
      Atomics.store(this.#header, words.tail, tail)
      take(event.record)
    }
    // Looked at again behind the store of the tail: native does it the other way round, so
    // that one of both sees the other and no record waits for the next wake-up.
    return tail !== Atomics.load(this.#header, words.head)
  }

  #read(index: number): { record: EventRecord; length: number } {
    const at = this.#offset(index)
    const view = this.#view
    const length = view.getUint16(at + field.textLength, true)
    const record = {
      kind: view.getUint16(at + field.kind, true),
      a: view.getUint32(at + field.a, true),
      b: view.getUint32(at + field.b, true),
      c: view.getUint32(at + field.c, true),
      time: view.getFloat64(at + field.time, true),
      d: view.getFloat64(at + field.d, true),
      text: this.#text(index, length),
    }
    return { record, length }
  }

  #text(index: number, length: number): string {
    const text = Buffer.allocUnsafe(length)
    const first = this.#offset(index) + field.text
    text.set(this.#bytes.subarray(first, first + Math.min(length, inlineText)))
    for (let done = inlineText, slot = index + 1; done < length; done += recordBytes, slot++) {
      const at = this.#offset(slot)
      text.set(this.#bytes.subarray(at, at + Math.min(length - done, recordBytes)), done)
    }
    return text.toString("utf8")
  }

  #offset(index: number): number {
    return headerBytes + (index & this.#mask) * recordBytes
  }
}

/** Records that a text of `length` bytes takes, its own included. */
export function slotsOf(length: number): number {
  return 1 + Math.max(0, Math.ceil((length - inlineText) / recordBytes))
}
