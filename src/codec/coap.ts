/**
 * CoAP (RFC 7252) messages as datagrams hold them, by the codec of the gateway. One
 * native call for a whole batch; payloads and options are views of the bytes given.
 */
import { TidegateError } from "../errors.ts"
import type { NativeCodec } from "../native/index.ts"
import { asBuffer, cross, Fields, type Found, numbersOf, written } from "./crossing.ts"

const TYPES = ["con", "non", "ack", "rst"] as const

export interface CoapOption {
  /** As registered: 11 Uri-Path, 12 Content-Format and so on. */
  readonly number: number
  readonly value: Uint8Array
}

export interface CoapMessage {
  readonly type: (typeof TYPES)[number]
  /** `0.01` GET, `2.05` Content and so on. */
  readonly code: string
  /** 0 to 65,535. */
  readonly messageId: number
  /** 0 to 8 bytes; default none. */
  readonly token?: Uint8Array
  /** Written in the order of their numbers; default none. */
  readonly options?: readonly CoapOption[]
  /** Default none. */
  readonly payload?: Uint8Array
}

/** The message of one datagram. Throws CODEC_INVALID with the broken rule. */
export function decode(datagram: Uint8Array): CoapMessage {
  const [message] = decodeAll([datagram])
  if (message === undefined || message instanceof TidegateError) throw message
  return message
}

/** The messages of many datagrams; an error in the place of each that is none. */
export function decodeAll(datagrams: readonly Uint8Array[]): (CoapMessage | TidegateError)[] {
  const [only] = datagrams
  const bytes = datagrams.length === 1 && only !== undefined ? asBuffer(only) : Buffer.concat(datagrams)
  const ends = new Uint32Array(datagrams.length)
  let end = 0
  for (const [index, { length }] of datagrams.entries()) {
    end += length
    ends[index] = end
  }
  const numbers = new Numbers(numbersOf((codec, out) => codec.coapDecode(bytes, ends, out)))
  return datagrams.map((datagram) =>
    numbers.isProblem() ? invalid(cross((codec) => codec.coapProblem(asBuffer(datagram)))) : numbers.message(bytes),
  )
}

/** The datagram of one message. Throws CODEC_INVALID for what the decoder would refuse. */
export function encode(message: CoapMessage): Buffer {
  const [datagram] = encodeAll([message])
  return datagram ?? Buffer.alloc(0)
}

/** A datagram for each message. */
export function encodeAll(messages: readonly CoapMessage[]): Buffer[] {
  const bytes = writeAll(messages, (codec, numbers, fields, out) => codec.coapEncode(numbers, fields, out))
  const datagrams: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at)
    datagrams.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return datagrams
}

/** Of what is not there. */
const NONE = Buffer.alloc(0)
const PROBLEM = 0xffff_ffff
/** Each code as it is written (RFC 7252 section 5.2). */
const CODES = Array.from({ length: 256 }, (_, code) => `${code >> 5}.${String(code & 31).padStart(2, "0")}`)
const CODE_NUMBERS = new Map(CODES.map((text, code) => [text, code]))

/** Messages as numbers, as `put_message` of the addon writes them. */
export class Numbers {
  readonly #numbers: Uint32Array
  readonly #count: number
  #at: number

  constructor({ numbers, count }: Found, at = 0) {
    this.#numbers = numbers
    this.#count = count
    this.#at = at
  }

  get isEmpty(): boolean {
    return this.#at >= this.#count
  }

  /** Whether the next one is none; it is taken then. */
  isProblem(): boolean {
    if (this.#numbers[this.#at] !== PROBLEM) return false
    this.#at++
    return true
  }

  /** The next one, whose fields stand in the bytes. */
  message(bytes: Buffer): CoapMessage {
    const head = this.#next()
    const token = this.#field(bytes)
    const payload = this.#field(bytes)
    const options: CoapOption[] = []
    for (let left = this.#next(); left > 0; left--) options.push({ number: this.#next(), value: this.#field(bytes) })
    return {
      type: TYPES[(head & 3) as 0 | 1 | 2 | 3],
      code: CODES[(head >> 8) & 255] as string,
      messageId: head >>> 16,
      token,
      options,
      payload,
    }
  }

  #next(): number {
    return this.#numbers[this.#at++] as number
  }

  #field(bytes: Buffer): Buffer {
    const at = this.#next()
    const length = this.#next()
    return length === 0 ? NONE : bytes.subarray(at, at + length)
  }
}

/** Length in front of a message, or of a frame; header, token's length and marker; and the most of an option's header. */
const HEAD_MAX = 4 + 4 + 4 + 1
const OPTION_MAX = 5

/** The messages as a native call writes them. */
export function writeAll(
  messages: readonly CoapMessage[],
  call: (codec: NativeCodec, numbers: Uint32Array, fields: Buffer, out: Buffer) => number,
): Buffer {
  const fields = new Fields(messages.reduce((sum, { payload }) => sum + 64 + (payload?.length ?? 0), 0))
  const numbers: number[] = []
  let heads = 0
  const put = (field: Uint8Array | undefined): void => {
    const at = fields.length
    numbers.push(at, fields.put(field))
  }
  for (const { type, code, messageId, token, options = [], payload } of messages) {
    const kind = TYPES.indexOf(type)
    const number = CODE_NUMBERS.get(code)
    if (kind < 0) throw invalid(`"${type}" is no type; it is one of ${TYPES.join(", ")}`)
    if (number === undefined) throw invalid(`"${code}" is no code; it is 0.00 to 7.31`)
    numbers.push(kind + 256 * number + 65_536 * short(messageId, "a message id"))
    put(token)
    put(payload)
    numbers.push(options.length)
    heads += HEAD_MAX + OPTION_MAX * options.length
    for (const { number, value } of options) {
      numbers.push(short(number, "the number of an option"))
      put(value)
    }
  }
  const given = Uint32Array.from(numbers)
  return written(heads + fields.length, (codec, out) => call(codec, given, fields.join(), out))
}

function short(value: number, what: string): number {
  if (Number.isInteger(value) && value >= 0 && value <= 65_535) return value
  throw invalid(`${what} is a whole number from 0 to 65,535, not ${value}`)
}

function invalid(text: string): TidegateError {
  return new TidegateError("CODEC_INVALID", text)
}
