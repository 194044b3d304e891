/** A client of HTTP/2 that does not read for a while: what it asked for meanwhile is answered as well. */
import { once } from "node:events"
import { createServer, type Server } from "node:http"
import { type AddressInfo, connect } from "node:net"
import test from "ava"
import { END_STREAM, type Fields, frame, frames, headers, settings } from "../defence/http2-frames.ts"
import { runGateway } from "./run-gateway.ts"

const STREAMS = 32
const BYTES = 1 << 20
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
const WIDE = 0x7fff_ffff

const get = (path: string): Fields => [
  [":method", "GET"],
  [":scheme", "http"],
  [":path", path],
  [":authority", "a"],
]

async function startOrigin(): Promise<Server> {
  const body = Buffer.alloc(BYTES, "x")
  const server = createServer((request, response) => response.end(request.url === "/small" ? "small" : body))
  await once(server.listen(0, "127.0.0.1"), "listening")
  return server
}

test("a client that begins to read late gets all it asked for before and meanwhile", async (t) => {
  const origin = await startOrigin()
  const gateway = await runGateway({
    workers: 1,
    upstreams: { origin: { endpoints: [`127.0.0.1:${(origin.address() as AddressInfo).port}`] } },
    routes: [{ when: { path: "/**" }, to: "origin" }],
  })
  t.teardown(async () => {
    await gateway.stop()
    origin.close()
  })
  const socket = connect(gateway.port, "127.0.0.1").pause()
  t.teardown(() => socket.destroy())
  const windows = Buffer.alloc(10)
  windows.writeUInt16BE(4, 0)
  windows.writeUInt32BE(WIDE, 2)
  windows.writeUInt32BE(WIDE - 65_535, 6)
  const large = Array.from({ length: STREAMS }, (_, index) => headers(2 * index + 1, get("/large")))
  const opening = [Buffer.from(PREFACE), frame(4, 0, 0, windows.subarray(0, 6)), frame(8, 0, 0, windows.subarray(6))]
  socket.write(Buffer.concat([...opening, ...large]))
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  const last = 2 * STREAMS + 1
  socket.write(Buffer.concat([settings, headers(last, get("/small"))]))
  await new Promise((resolve) => setTimeout(resolve, 300))

  const lengths = new Map<number, number>()
  const ended = new Set<number>()
  let rest = Buffer.alloc(0)
  const timer = setTimeout(() => socket.destroy(new Error("nothing more came")), 20_000)
  for await (const data of socket.resume()) {
    const cut = frames(Buffer.concat([rest, data]))
    rest = Buffer.from(cut.rest)
    for (const { type, flags, stream, payload } of cut.found) {
      if (type === 0) lengths.set(stream, (lengths.get(stream) ?? 0) + payload.length)
      if (type <= 1 && flags & END_STREAM) ended.add(stream)
    }
    if (ended.size === STREAMS + 1) break
  }
  clearTimeout(timer)
  t.is(lengths.get(last), "small".length)
  lengths.delete(last)
  t.deepEqual([...lengths.values()], Array(STREAMS).fill(BYTES))
})
