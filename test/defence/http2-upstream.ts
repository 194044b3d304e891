/** An upstream of HTTP/2 by hand: it answers each request with the frames that a test says. */
import { once } from "node:events"
import { type AddressInfo, createServer, type Socket } from "node:net"
import type { ExecutionContext } from "ava"
import { DATA, END_STREAM, type Frame, frame, frames, HEADERS } from "./http2-frames.ts"

const PREFACE_BYTES = 24
export const RST_STREAM = 3
export const GOAWAY = 7

export interface Asked {
  readonly stream: number
  /** Which connection it came on, from 0. */
  readonly connection: number
  readonly socket: Socket
}

export interface RawUpstream {
  readonly address: string
  /** How many connections came, and how many of them were ended by a GOAWAY of the gateway's, with its code. */
  readonly connections: () => number
  readonly goaways: readonly number[]
  /** Streams that the gateway reset, with the code. */
  readonly resets: ReadonlyMap<number, number>
  /** Bytes of each stream's request body. */
  readonly bodies: ReadonlyMap<string, number>
}

/** SETTINGS by identifier. */
export const settingsOf = (values: Readonly<Record<number, number>>): Buffer =>
  frame(
    4,
    0,
    0,
    Buffer.concat(
      Object.entries(values).map(([id, value]) => {
        const setting = Buffer.alloc(6)
        setting.writeUInt16BE(Number(id))
        setting.writeUInt32BE(value, 2)
        return setting
      }),
    ),
  )

export const windowUpdate = (stream: number, bytes: number): Buffer => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(bytes)
  return frame(8, 0, stream, payload)
}

export const reset = (stream: number, code: number): Buffer => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(code)
  return frame(RST_STREAM, 0, stream, payload)
}

export const goaway = (last: number, code = 0): Buffer => {
  const payload = Buffer.alloc(8)
  payload.writeUInt32BE(last)
  payload.writeUInt32BE(code, 4)
  return frame(GOAWAY, 0, 0, payload)
}

/** Listens until the test is over; `answer` gets the first frame of each request, `first` goes out with the connection. */
export async function rawUpstream(
  t: ExecutionContext,
  answer: (asked: Asked) => void,
  first: (connection: number) => Buffer = () => settingsOf({}),
): Promise<RawUpstream> {
  let connections = 0
  const goaways: number[] = []
  const resets = new Map<number, number>()
  const bodies = new Map<string, number>()
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    const connection = connections++
    sockets.add(socket)
    socket.on("error", () => undefined)
    socket.write(first(connection))
    let rest = Buffer.alloc(0)
    let preface = PREFACE_BYTES
    const take = ({ type, flags, stream, payload }: Frame): void => {
      if (type === 4 && !(flags & 1)) socket.write(frame(4, 1, 0))
      if (type === 6 && !(flags & 1)) socket.write(frame(6, 1, 0, payload))
      if (type === HEADERS) answer({ stream, connection, socket })
      if (type === DATA) {
        const key = `${connection}:${stream}`
        bodies.set(key, (bodies.get(key) ?? 0) + payload.length)
      }
      if (type === RST_STREAM) resets.set(stream, payload.readUInt32BE(0))
      if (type === GOAWAY && payload.readUInt32BE(4) !== 0) goaways.push(payload.readUInt32BE(4))
    }
    socket.on("data", (data) => {
      rest = Buffer.concat([rest, data])
      const skipped = Math.min(preface, rest.length)
      preface -= skipped
      const cut = frames(rest.subarray(skipped))
      rest = Buffer.from(cut.rest)
      cut.found.forEach(take)
    })
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => {
    sockets.forEach((socket) => {
      socket.destroy()
    })
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { address: `127.0.0.1:${port}`, connections: () => connections, goaways, resets, bodies }
}

/** DATA, the last of its stream where that is said. */
export const data = (stream: number, payload: Buffer | string, last = false): Buffer =>
  frame(DATA, last ? END_STREAM : 0, stream, payload)
