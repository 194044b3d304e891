/**
 * CoAP (RFC 7252) messages as datagrams hold them, by the codec of the gateway. One
 * native call for a whole batch; payloads and options are views of the bytes given.
 */
import { TidegateError } from "../errors.ts"
import { cross, Fields, fieldAt, type Span } from "./crossing.ts"

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

export interface Wire {
  readonly kind: number
  readonly code: number
  readonly messageId: number
  readonly token: Span
  readonly options: readonly (readonly [number: number, value: Span])[]
  readonly payload: Span
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
  const bytes =
    datagrams.length === 1 && only !== undefined
      ? Buffer.from(only.buffer, only.byteOffset, only.byteLength)
      : Buffer.concat(datagrams)
  let end = 0
  const ends = Uint32Array.from(datagrams, ({ length }) => {
    end += length
    return end
  })
  const found = JSON.parse(cross((codec) => codec.coapDecode(bytes, ends))) as readonly (Wire | string)[]
  return found.map((wire) => (typeof wire === "string" ? invalid(wire) : toMessage(wire, bytes)))
}

/** The datagram of one message. Throws CODEC_INVALID for what the decoder would refuse. */
export function encode(message: CoapMessage): Buffer {
  const [datagram] = encodeAll([message])
  return datagram ?? Buffer.alloc(0)
}

/** A datagram for each message. */
export function encodeAll(messages: readonly CoapMessage[]): Buffer[] {
  const fields = new Fields()
  const json = JSON.stringify(messages.map((message) => toWire(message, fields)))
  const bytes = cross((codec) => codec.coapEncode(json, fields.join()))
  const datagrams: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUInt32LE(at)
    datagrams.push(bytes.subarray(at + 4, at + 4 + length))
    at += 4 + length
  }
  return datagrams
}

export function toMessage({ kind, code, messageId, token, options, payload }: Wire, bytes: Uint8Array): CoapMessage {
  return {
    type: TYPES[kind as 0 | 1 | 2 | 3],
    code: `${code >> 5}.${String(code & 31).padStart(2, "0")}`,
    messageId,
    token: fieldAt(bytes, token),
    options: options.map(([number, value]) => ({ number, value: fieldAt(bytes, value) })),
    payload: fieldAt(bytes, payload),
  }
}

export function toWire({ type, code, messageId, token, options = [], payload }: CoapMessage, fields: Fields): Wire {
  const [, klass = "", detail = ""] = /^([0-7])\.([0-2][0-9]|3[01])$/.exec(code) ?? []
  if (klass === "") throw invalid(`"${code}" is no code; it is 0.00 to 7.31`)
  return {
    kind: TYPES.indexOf(type),
    code: Number(klass) * 32 + Number(detail),
    messageId,
    token: fields.add(token),
    options: options.map(({ number, value }) => [number, fields.add(value)]),
    payload: fields.add(payload),
  }
}

function invalid(text: string): TidegateError {
  return new TidegateError("CODEC_INVALID", text)
}
