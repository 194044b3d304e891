/**
 * Streams of many small messages by HTTP/2, as gRPC sends them, each a DATA frame of its own; and answers
 * that share a connection to an upstream with some that nobody reads.
 */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import test, { type ExecutionContext } from "ava"
import {
  converse,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  frames,
  HEADERS,
  headers,
  settings,
} from "../defence/http2-frames.ts"
import { runGateway, upstream } from "./run-gateway.ts"

/** More than would be kept of them if each one cost an entry. */
const MANY = 20_000

const post = headers(
  1,
  [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", "/x"],
    [":authority", "a"],
  ],
  END_HEADERS,
)
const drops = Buffer.concat([
  ...Array.from({ length: MANY - 1 }, () => frame(DATA, 0, 1, "x")),
  frame(DATA, END_STREAM, 1, "x"),
])

async function gatewayTo(t: ExecutionContext, address: string, protocol: "http1" | "h2c") {
  const gateway = await runGateway({
    workers: 1,
    upstreams: { to: { endpoints: [address], protocol, outlier: false } },
    routes: [{ when: { path: "/**" }, to: "to" }],
  })
  t.teardown(() => gateway.stop())
  return gateway
}

for (const [reads, pause] of [
  ["that reads", false],
  ["that does not read at first", true],
] as const) {
  test(`a body in ${MANY} frames of one byte arrives at an upstream ${reads}`, async (t) => {
    let got = 0
    const { server, address } = await upstream((request, response) => {
      request.on("data", (data: Buffer) => {
        got += data.length
      })
      request.on("end", () => response.end())
      if (!pause) return
      request.pause()
      setTimeout(() => request.resume(), 1_000)
    })
    t.teardown(() => server.close())
    const gateway = await gatewayTo(t, address, "http1")
    const answers = await converse(gateway.port, Buffer.concat([post, drops]), (seen) => seen.has(1) || seen.has(0))
    t.deepEqual([answers.get(1)?.[0], answers.get(0), got], ["200", undefined, MANY])
  })
}

/** What a server of HTTP/2 by hand answers to streams as they are opened. */
type Treat = (stream: number, send: (stream: number, data: string, ends: boolean) => void) => void

/** A server that keeps to the windows of its client: what has no room waits. */
async function byHand(t: ExecutionContext, treat: Treat): Promise<string> {
  const serve = (socket: Socket): void => {
    let rest = Buffer.alloc(0)
    let [whole, initial, preface] = [65_535, 65_535, 24]
    const windows = new Map<number, number>()
    const waiting: [stream: number, data: string, ends: boolean][] = []
    const flush = (): void => {
      const out: Buffer[] = []
      for (const entry of waiting.splice(0)) {
        const [stream, data, ends] = entry
        const window = windows.get(stream) ?? initial
        if (data.length > Math.min(window, whole)) {
          waiting.push(entry)
          continue
        }
        windows.set(stream, window - data.length)
        whole -= data.length
        out.push(frame(DATA, ends ? END_STREAM : 0, stream, data))
      }
      // At once, so that a reader finds many.
      if (out.length > 0) socket.write(Buffer.concat(out))
    }
    const send = (stream: number, data: string, ends: boolean): void => {
      waiting.push([stream, data, ends])
    }
    socket.on("error", () => undefined)
    socket.write(settings)
    socket.on("data", (data) => {
      const bytes = Buffer.concat([rest, data])
      const cut = bytes.length < preface ? { found: [], rest: bytes } : frames(bytes.subarray(preface))
      rest = Buffer.from(cut.rest)
      if (bytes.length >= preface) preface = 0
      for (const { type, flags, stream, payload } of cut.found) {
        for (let at = 0; type === 4 && at < payload.length; at += 6)
          if (payload.readUInt16BE(at) === 4) initial = payload.readUInt32BE(at + 2)
        if (type === 4 && flags === 0) socket.write(frame(4, 1, 0))
        if (type === 8 && stream === 0) whole += payload.readUInt32BE(0)
        if (type === 8 && stream > 0) windows.set(stream, (windows.get(stream) ?? initial) + payload.readUInt32BE(0))
        if (type !== HEADERS) continue
        socket.write(frame(HEADERS, END_HEADERS, stream, Buffer.from([0x88])))
        treat(stream, send)
      }
      flush()
    })
  }
  const server = createServer(serve).listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

test(`an answer in ${MANY} frames of one byte arrives whole`, async (t) => {
  const address = await byHand(t, (stream, send) => {
    for (let count = 1; count <= MANY; count++) send(stream, "x", count === MANY)
  })
  const gateway = await gatewayTo(t, address, "h2c")
  const answer = await fetch(`http://127.0.0.1:${gateway.port}/x`)
  t.deepEqual([answer.status, (await answer.text()).length], [200, MANY])
})

test("answers that nobody reads hold up no other on their connection to the upstream", async (t) => {
  const SLOW = 8
  const large = "x".repeat(16_384)
  let opened = 0
  const address = await byHand(t, (stream, send) => {
    opened += 1
    // More than a client's socket and the gateway's take.
    for (let count = 0; opened <= SLOW && count < 1_000; count++) send(stream, large, false)
    if (opened > SLOW) send(stream, "small", true)
  })
  const gateway = await gatewayTo(t, address, "h2c")
  const slow = Array.from({ length: SLOW }, () => {
    const socket = connect(gateway.port, "127.0.0.1")
    socket.on("error", () => undefined).pause()
    socket.write("GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
    return socket
  })
  t.teardown(() => {
    for (const socket of slow) socket.destroy()
  })
  const taken = async (): Promise<number> => {
    const { items } = (await (await fetch(`${gateway.admin}/v1/connections?protocol=http1`)).json()) as {
      items: { bytesOut: number }[]
    }
    return items.reduce((sum, { bytesOut }) => sum + bytesOut, 0)
  }
  // Until their sockets take no more.
  for (let [before, now] = [-1, 0]; opened < SLOW || now !== before; ) {
    before = now
    await new Promise((resolve) => setTimeout(resolve, 700))
    now = await taken()
  }
  const answer = await fetch(`http://127.0.0.1:${gateway.port}/small`, { signal: AbortSignal.timeout(8_000) })
  t.is(await answer.text(), "small")
})
