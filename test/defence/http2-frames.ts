/** Frames of HTTP/2 by hand: what is sent is what a test says, whatever RFC 9113 says of it. */
import { connect } from "node:net"

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

export const DATA = 0
export const HEADERS = 1
export const END_STREAM = 1
export const END_HEADERS = 4

export function frame(type: number, flags: number, stream: number, payload: Buffer | string = ""): Buffer {
  const body = Buffer.from(payload)
  const head = Buffer.alloc(9)
  head.writeUIntBE(body.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, body])
}

export const settings = frame(4, 0, 0)

export type Fields = readonly (readonly [name: string, value: string])[]

/** A header block of literals, not kept and not coded (RFC 7541 section 6.2.2). */
export function block(fields: Fields): Buffer {
  const text = (value: string): Buffer => {
    const bytes = Buffer.from(value, "latin1")
    if (bytes.length > 126) throw new Error("too long for one octet of length")
    return Buffer.concat([Buffer.from([bytes.length]), bytes])
  }
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]))
}

export const headers = (stream: number, fields: Fields, flags = END_STREAM | END_HEADERS): Buffer =>
  frame(HEADERS, flags, stream, block(fields))

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** Cuts bytes into frames; what is left is the beginning of one. */
export function frames(bytes: Buffer): { found: Frame[]; rest: Buffer } {
  const found: Frame[] = []
  let rest = bytes
  while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
    const end = 9 + rest.readUIntBE(0, 3)
    const [type, flags, stream] = [rest.readUInt8(3), rest.readUInt8(4), rest.readUInt32BE(5)]
    found.push({ type, flags, stream, payload: rest.subarray(9, end) })
    rest = rest.subarray(end)
  }
  return { found, rest }
}

/** Statuses that the static table names, as the first octet of a head. */
const STATUSES: Readonly<Record<number, string>> = { 136: "200", 140: "400", 141: "404" }

/** What one frame of an answer means: a status, data, or an error with its code. */
function meaning({ type, flags, payload }: Frame): string | null {
  if (type === HEADERS) return STATUSES[payload.readUInt8(0)] ?? "another status"
  if (type === DATA) return flags & END_STREAM ? "end" : null
  if (type === 3) return `RST_STREAM ${payload.readUInt32BE(0)}`
  return type === 7 ? `GOAWAY ${payload.readUInt32BE(4)}` : null
}

/**
 * Sends frames behind preface and settings: what comes for each stream, with stream 0 for the connection,
 * until `enough` of it has, or it closes.
 */
export async function converse(
  port: number,
  bytes: Buffer,
  enough: (answers: ReadonlyMap<number, string[]>) => boolean,
): Promise<ReadonlyMap<number, string[]>> {
  const socket = connect(port, "127.0.0.1")
  socket.on("error", () => {})
  socket.write(Buffer.concat([PREFACE, settings, bytes]))
  const answers = new Map<number, string[]>()
  let rest = Buffer.alloc(0)
  const timer = setTimeout(() => socket.destroy(new Error("nothing more came")), 8_000)
  await new Promise<void>((resolve) => {
    socket.on("close", resolve)
    socket.on("data", (data) => {
      const cut = frames(Buffer.concat([rest, data]))
      rest = Buffer.from(cut.rest)
      for (const each of cut.found) {
        const what = meaning(each)
        if (what !== null) answers.set(each.stream, [...(answers.get(each.stream) ?? []), what])
      }
      if (enough(answers)) resolve()
    })
  })
  clearTimeout(timer)
  socket.destroy()
  return answers
}
