/** What both codecs need: binary fields stand in one buffer, and packets name their places in it. */
import { loadNative, type NativeCodec, toTidegateError } from "../native/index.ts"

/** `[at, length]` in the buffer that crosses beside the JSON. */
export type Span = readonly [at: number, length: number]

const EMPTY: Span = [0, 0]

/** Collects the binary fields of what is encoded. */
export class Fields {
  readonly #parts: Uint8Array[] = []
  #length = 0

  add(bytes: Uint8Array | string | undefined): Span {
    if (bytes === undefined || bytes.length === 0) return EMPTY
    const part = typeof bytes === "string" ? Buffer.from(bytes, "utf8") : bytes
    const span: Span = [this.#length, part.length]
    this.#parts.push(part)
    this.#length += part.length
    return span
  }

  join(): Buffer {
    return Buffer.concat(this.#parts, this.#length)
  }
}

/** The field at a place: a view, not a copy. */
export function fieldAt(bytes: Uint8Array, [at, length]: Span): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, length)
}

/** One native call; what it refuses becomes a coded error. */
export function cross<T>(call: (codec: NativeCodec) => T): T {
  try {
    return call(loadNative())
  } catch (error) {
    throw toTidegateError(error)
  }
}
