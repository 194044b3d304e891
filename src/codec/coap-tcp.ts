/**
 * CoAP over TCP (RFC 8323 section 3.2): frames of a stream, by the codec of the gateway.
 * Messages have no type and no id; signals (7.01 CSM and so on) are messages, too.
 */
import { TidegateError } from "../errors.ts"
import { type CoapMessage, Numbers, writeAll } from "./coap.ts"
import { asBuffer, numbersOf } from "./crossing.ts"

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
  const input = asBuffer(bytes)
  const found = numbersOf((codec, numbers) => codec.coapTcpDecode(input, maxFrameBytes, numbers))
  if (typeof found === "string") throw new TidegateError("CODEC_INVALID", found)
  const frames: CoapFrame[] = []
  for (const numbers = new Numbers(found, 1); !numbers.isEmpty; ) {
    const { code, token, options, payload } = numbers.message(input)
    frames.push({ code, token, options, payload } as CoapFrame)
  }
  return { frames, used: found.numbers[0] ?? 0 }
}

/** Frames one behind the other. Throws CODEC_INVALID for what the decoder would refuse. */
export function encodeAll(frames: readonly CoapFrame[]): Buffer {
  const messages = frames.map((frame) => ({ type: "con" as const, messageId: 0, ...frame }))
  return writeAll(messages, (codec, numbers, fields, out) => codec.coapTcpEncode(numbers, fields, out))
}
