/**
 * CoAP over TCP (RFC 8323 section 3.2): frames of a stream, by the codec of the gateway.
 * Messages have no type and no id; signals (7.01 CSM and so on) are messages, too.
 */
import { TidegateError } from "../errors.ts"
import { type CoapMessage, toMessage, toWire, type Wire } from "./coap.ts"
import { cross, Fields } from "./crossing.ts"

export type CoapFrame = Omit<CoapMessage, "type" | "messageId">

export interface CoapTcpDecodeOptions {
  /** A longer frame is an error as soon as its length is known; default 1,048,576 bytes. */
  readonly maxFrameBytes?: number
}

/**
 * All whole frames at the front of the bytes, and how many bytes they are: what stands
 * behind goes in front of what comes next. Throws CODEC_INVALID with the broken rule.
 */
export function decodeAll(
  bytes: Uint8Array,
  { maxFrameBytes = 1_048_576 }: CoapTcpDecodeOptions = {},
): { frames: CoapFrame[]; used: number } {
  const input = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const { messages, used, problem } = JSON.parse(cross((codec) => codec.coapTcpDecode(input, maxFrameBytes))) as {
    readonly messages: readonly Wire[]
    readonly used: number
    readonly problem: string | null
  }
  if (problem !== null) throw new TidegateError("CODEC_INVALID", problem)
  const frames = messages.map((wire) => {
    const { code, token, options, payload } = toMessage(wire, input)
    return { code, token, options, payload } as CoapFrame
  })
  return { frames, used }
}

/** Frames one behind the other. Throws CODEC_INVALID for what the decoder would refuse. */
export function encodeAll(frames: readonly CoapFrame[]): Buffer {
  const fields = new Fields()
  const json = JSON.stringify(frames.map((frame) => toWire({ type: "con", messageId: 0, ...frame }, fields)))
  return cross((codec) => codec.coapTcpEncode(json, fields.join()))
}
