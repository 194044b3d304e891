/** What both codecs need: fields stand in one buffer, and numbers or JSON name their places in it. */
import { isUint8Array } from "node:util/types"
import { TidegateError } from "../errors.ts"
import { loadNative, type NativeCodec, toTidegateError } from "../native/index.ts"

/** `[at, length]` in the buffer that crosses beside the JSON. */
export type Span = readonly [at: number, length: number]

/** No unit of UTF-16 takes more than three bytes. */
export const bytesAtMost = (field: Uint8Array | string | undefined): number =>
  typeof field === "string" ? 3 * field.length : (field?.length ?? 0)

/** Collects the fields of what is encoded. */
export class Fields {
  #bytes: Buffer
  #length = 0

  /** `capacity`: bytes, as far as they are known. */
  constructor(capacity = 256) {
    this.#bytes = Buffer.allocUnsafe(capacity)
  }

  /** Where the next field will stand. */
  get length(): number {
    return this.#length
  }

  /** Adds a field; how many bytes it has. Throws CODEC_INVALID for what is neither bytes nor text. */
  put(field: Uint8Array | string | undefined): number {
    if (field === undefined) return 0
    if (typeof field !== "string" && !isUint8Array(field)) {
      throw new TidegateError("CODEC_INVALID", "a field is neither a Uint8Array nor a string")
    }
    if (field.length === 0) return 0
    const most = bytesAtMost(field)
    if (this.#length + most > this.#bytes.length) this.#grow(most)
    const at = this.#length
    if (typeof field === "string") this.#length += this.#bytes.write(field, at)
    else {
      this.#bytes.set(field, at)
      this.#length += most
    }
    return this.#length - at
  }

  add(field: Uint8Array | string | undefined): Span {
    const at = this.#length
    return [at, this.put(field)]
  }

  join(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  #grow(more: number): void {
    const bytes = Buffer.allocUnsafe(2 * this.#bytes.length + more)
    this.#bytes.copy(bytes, 0, 0, this.#length)
    this.#bytes = bytes
  }
}

/** The bytes as a buffer: a view, not a copy. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** The field at a place: a view, not a copy. */
export function fieldAt(bytes: Buffer, [at, length]: Span): Buffer {
  return bytes.subarray(at, at + length)
}

/** What a native call found: numbers, as many as it says; good until the next call. */
export interface Found {
  readonly numbers: Uint32Array
  readonly count: number
}

/** Numbers, and the bytes that they are. */
function room(count: number): { readonly numbers: Uint32Array; readonly bytes: Buffer } {
  const numbers = new Uint32Array(count)
  return { numbers, bytes: Buffer.from(numbers.buffer) }
}

const scratch = room(4_096)

/** A native call that writes numbers and says how many there are, or gives a text instead. */
export function numbersOf(call: (codec: NativeCodec, numbers: Buffer) => number): Found
export function numbersOf(call: (codec: NativeCodec, numbers: Buffer) => number | string): Found | string
export function numbersOf(call: (codec: NativeCodec, numbers: Buffer) => number | string): Found | string {
  for (let place = scratch; ; ) {
    const { numbers, bytes } = place
    const count = cross((codec) => call(codec, bytes))
    if (typeof count === "string") return count
    if (count <= numbers.length) return { numbers, count }
    place = room(count)
  }
}

/** What a native call writes into a buffer of so many bytes at most. */
export function written(most: number, call: (codec: NativeCodec, out: Buffer) => number): Buffer {
  const out = Buffer.allocUnsafe(most)
  return out.subarray(
    0,
    cross((codec) => call(codec, out)),
  )
}

/** One native call; what it refuses becomes a coded error. */
export function cross<T>(call: (codec: NativeCodec) => T): T {
  try {
    return call(loadNative())
  } catch (error) {
    throw toTidegateError(error)
  }
}
