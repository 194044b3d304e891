/** grpc: grpc.health.v1.Health/Check says SERVING. Two small messages, written and read by hand. */
import { constants } from "node:http2"
import type { Check } from "./check.ts"
import { connectHttp2 } from "./wire.ts"

const SERVING = 1
/** Longer answers are none. */
const MAX_ANSWER = 1_024

export const grpcCheck: Check = (endpoint, health) =>
  new Promise((resolve) => {
    const session = connectHttp2(endpoint, health)
    const end = (passed: boolean): void => {
      clearTimeout(timer)
      session.destroy()
      resolve(passed)
    }
    const timer = setTimeout(() => end(false), health.timeoutMs)
    session.on("close", () => end(false))
    const stream = session.request({
      [constants.HTTP2_HEADER_METHOD]: "POST",
      [constants.HTTP2_HEADER_PATH]: "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "tidegate-health",
    })
    let answer = Buffer.alloc(0)
    let status: unknown
    const readStatus = (fields: Readonly<Record<string, unknown>>): void => {
      status = fields["grpc-status"] ?? status
    }
    stream.on("response", readStatus)
    stream.on("trailers", readStatus)
    stream.on("data", (data: Buffer) => {
      if (answer.length < MAX_ANSWER) answer = Buffer.concat([answer, data])
    })
    stream.on("end", () => end(Number(status) === 0 && servingStatus(answer) === SERVING))
    stream.on("error", () => end(false))
    stream.end(request(health.service))
  })

/** A message of one string field (number 1), behind its five bytes of frame. */
function request(service: string): Buffer {
  const name = Buffer.from(service)
  const message = name.length === 0 ? name : Buffer.concat([Buffer.from([0x0a]), varint(name.length), name])
  const frame = Buffer.alloc(5)
  frame.writeUInt32BE(message.length, 1)
  return Buffer.concat([frame, message])
}

function varint(value: number): Buffer {
  return value < 0x80 ? Buffer.from([value]) : Buffer.from([(value & 0x7f) | 0x80, value >> 7])
}

/** Field 1 of the answer, an enum; 0 where it is not there. */
function servingStatus(frame: Buffer): number {
  const compressed = frame[0] !== 0
  return !compressed && frame.length >= 7 && frame[5] === 0x08 ? (frame[6] ?? 0) : 0
}
