/** WebSockets on their way through and at the gateway itself: times, drain, HTTP/2 on either side; by `ws`, node:http2 and raw sockets. */
import { createHash } from "node:crypto"
import { once } from "node:events"
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectH2,
  constants,
  createServer as createH2,
  type ServerHttp2Stream,
} from "node:http2"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { WebSocket, WebSocketServer } from "ws"
import { type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
const HEAD =
  "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
const port = (server: { address(): unknown }): number => (server.address() as AddressInfo).port

/** A `ws` server that echoes and keeps the codes that its clients close with. */
const closes: number[] = []
const echo = new WebSocketServer({ port: 0, host: "127.0.0.1" })
echo.on("connection", (socket) => {
  socket.on("message", (data, binary) => socket.send(data, { binary }))
  socket.on("close", (code) => closes.push(code))
})

/** Says 101 and then what the test wants. */
let raw: Socket | undefined
const rawServer: Server = createServer((socket) => {
  socket.on("error", () => {})
  socket.once("data", (data) => {
    raw = socket
    const key = /sec-websocket-key: (\S+)/i.exec(String(data))?.[1] ?? ""
    const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")
    const said = String(data).startsWith("GET /raw ") ? accept : "of another key"
    const fields = `Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${said}`
    socket.write(`HTTP/1.1 101 Switching Protocols\r\n${fields}\r\n\r\n`)
  })
})

/** Takes WebSockets over HTTP/2 only. */
const h2 = createH2({ settings: { enableConnectProtocol: true } })
h2.on("stream", (stream: ServerHttp2Stream, headers) => {
  stream.on("error", () => {})
  if (headers[":protocol"] !== "websocket") return stream.respond({ ":status": 400 }, { endStream: true })
  stream.respond({ ":status": 200, "sec-websocket-protocol": String(headers["sec-websocket-protocol"] ?? "none") })
  stream.on("data", (data: Buffer) => {
    // The client's masked frame back as the server's own: mask taken off.
    const length = (data[1] ?? 0) & 0x7f
    const mask = data.subarray(2, 6)
    const payload = data.subarray(6, 6 + length).map((byte, at) => byte ^ (mask[at % 4] ?? 0))
    stream.write(Buffer.concat([Buffer.from([data[0] ?? 0, length]), payload]))
    if (((data[0] ?? 0) & 15) === 8) stream.end()
  })
})

async function start(limits: object = {}): Promise<Running> {
  return runGateway({
    limits,
    drain: { timeoutMs: 6_000 },
    upstreams: {
      echo: { endpoints: [`127.0.0.1:${port(echo)}`] },
      raw: { endpoints: [`127.0.0.1:${port(rawServer)}`] },
      h2: { endpoints: [`127.0.0.1:${port(h2)}`], protocol: "h2c" },
    },
    routes: [
      { when: { path: "/echo" }, to: "echo" },
      { when: { path: "/patient" }, to: "echo", use: [{ timeout: { ms: 5_000, idleMs: 60_000 } }] },
      { when: { path: "/brief" }, to: "echo", use: [{ timeout: { ms: 5_000, totalMs: 400 } }] },
      { when: { path: "/raw" }, to: "raw" },
      { when: { path: "/other" }, to: "raw" },
      { when: { path: "/h2" }, to: "h2" },
    ],
  })
}

ava.before(async () => {
  rawServer.listen(0, "127.0.0.1")
  h2.listen(0, "127.0.0.1")
  await Promise.all([once(rawServer, "listening"), once(h2, "listening")])
})
ava.after.always(() => {
  echo.close()
  rawServer.close()
  h2.close()
  raw?.destroy()
})

async function open(gateway: Running, path: string, protocols: string[] = []): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}${path}`, protocols)
  await once(socket, "open")
  return socket
}

async function said(socket: WebSocket, text: string): Promise<string> {
  socket.send(text)
  const [data] = await once(socket, "message")
  return String(data)
}

async function closed(socket: WebSocket): Promise<{ code: number; tookMs: number }> {
  const began = Date.now()
  const [code] = await once(socket, "close", { signal: AbortSignal.timeout(10_000) })
  return { code, tookMs: Date.now() - began }
}

async function until(condition: () => boolean): Promise<boolean> {
  for (const end = Date.now() + 5_000; Date.now() < end; await sleep(20)) if (condition()) return true
  return false
}

test("an idle WebSocket is closed with 1001, one that lives too long with 1012; routes have their own times", async (t) => {
  const gateway = await start({ websocketIdleMs: 600, websocketLifetimeMs: 2_500 })
  t.teardown(gateway.stop)
  const [idle, busy, patient, brief] = await Promise.all(
    ["/echo", "/echo", "/patient", "/brief"].map((path) => open(gateway, path)),
  )
  const talk = setInterval(() => busy?.send("still here"), 150)
  t.teardown(() => clearInterval(talk))
  const ends = await Promise.all([idle, busy, patient, brief].map((socket) => closed(socket as WebSocket)))
  t.deepEqual(
    ends.map(({ code }) => code),
    [1001, 1012, 1012, 1012],
  )
  const [first, second, third, fourth] = ends.map(({ tookMs }) => tookMs) as [number, number, number, number]
  t.true(first < 1_500 && fourth < 1_500 && second > 1_700 && third > 1_700, ends.map(({ tookMs }) => tookMs).join())
  // The client answered the Close, and its answer reached the service.
  t.true(await until(() => closes.includes(1001) && closes.includes(1012)), closes.join())
  const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
  t.regex(metrics, /tidegate_dropped_total\{[^}]*protocol="websocket",reason="idle"\} 1/)
  t.regex(metrics, /tidegate_dropped_total\{[^}]*protocol="websocket",reason="lifetime"\} 3/)
})

test("a socket of JSON frames that is idle is asked by a Ping, and closed only where no Pong comes", async (t) => {
  const gateway = await start({ websocketIdleMs: 600 })
  t.teardown(gateway.stop)
  const alive = await open(gateway, "/any", ["tidegate.v1.json"])
  const silent = connect(gateway.port, "127.0.0.1")
  silent.write(`GET /any HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Protocol: tidegate.v1.json\r\n${HEAD}`)
  const got: Buffer[] = []
  silent.on("data", (data) => got.push(data))
  await once(silent, "close")
  const all = Buffer.concat(got)
  const frames = all.subarray(all.indexOf("\r\n\r\n") + 4)
  t.deepEqual([...frames.subarray(0, 2)], [0x89, 0], "a Ping")
  t.deepEqual([frames[2], frames.readUInt16BE(4)], [0x88, 1001])
  t.is(alive.readyState, WebSocket.OPEN)
  alive.close()
})

test("a drain says 1012, the client answers, and the service hears of it", async (t) => {
  const gateway = await start()
  t.teardown(gateway.stop)
  const socket = await open(gateway, "/echo")
  t.is(await said(socket, "hello"), "hello")
  closes.length = 0
  const ended = closed(socket)
  gateway.process.kill("SIGTERM")
  t.is((await ended).code, 1012)
  t.true(await until(() => closes.includes(1012)), closes.join())
})

test("a service hears the close code from the gateway where the client does not answer the Close", async (t) => {
  const gateway = await start({ websocketIdleMs: 600 })
  t.teardown(gateway.stop)
  closes.length = 0
  const deaf = connect(gateway.port, "127.0.0.1")
  t.teardown(() => deaf.destroy())
  deaf.write(`GET /echo HTTP/1.1\r\nHost: a\r\n${HEAD}`)
  const within = connect(gateway.port, "127.0.0.1")
  t.teardown(() => within.destroy())
  // Half of a frame: nothing of the gateway's may stand behind it.
  within.write(
    Buffer.concat([Buffer.from(`GET /echo HTTP/1.1\r\nHost: a\r\n${HEAD}`), Buffer.from([0x81, 0x82, 0, 0])]),
  )
  t.true(await until(() => closes.length === 2))
  t.deepEqual(closes.toSorted(), [1001, 1006])
})

test("a goodbye stands between two frames, never within one", async (t) => {
  const gateway = await start()
  t.teardown(gateway.stop)
  const client = connect(gateway.port, "127.0.0.1")
  t.teardown(() => client.destroy())
  client.write(`GET /raw HTTP/1.1\r\nHost: a\r\n${HEAD}`)
  let bytes = Buffer.alloc(0)
  client.on("data", (data) => {
    bytes = Buffer.concat([bytes, data])
  })
  t.true(await until(() => bytes.includes("\r\n\r\n")))
  bytes = Buffer.alloc(0)
  raw?.write(Buffer.from([0x82, 4, 1, 2]))
  t.true(await until(() => bytes.length === 4))
  const { items } = (await (await fetch(`${gateway.admin}/v1/connections?protocol=websocket`)).json()) as {
    items: { id: string }[]
  }
  t.is((await fetch(`${gateway.admin}/v1/connections/${items[0]?.id}`, { method: "DELETE" })).status, 204)
  await sleep(300)
  t.is(bytes.length, 4, "the frame is not over")
  raw?.write(Buffer.from([3, 4, 0x82, 1, 9]))
  t.true(await until(() => bytes.length > 9))
  t.deepEqual([...bytes.subarray(0, 6)], [0x82, 4, 1, 2, 3, 4])
  t.deepEqual([bytes[6], bytes.readUInt16BE(8)], [0x88, 1012])
})

test("a drain reaches WebSockets over HTTP/2: Close 1012 in each stream", async (t) => {
  const gateway = await start()
  t.teardown(gateway.stop)
  const session = connectH2(`http://127.0.0.1:${gateway.port}`)
  session.on("error", () => {})
  await once(session, "remoteSettings")
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":path": "/echo",
    ":authority": "localhost",
    "sec-websocket-version": "13",
  } as never)
  await once(stream, "response")
  stream.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
  const [data] = await once(stream, "data")
  t.is(data.subarray(2).toString(), "hi")
  const farewell = once(stream, "data", { signal: AbortSignal.timeout(8_000) })
  gateway.process.kill("SIGTERM")
  const [close] = await farewell
  t.deepEqual([close[0], close.readUInt16BE(2)], [0x88, 1012])
  // The client's answer, then the stream and the connection are over.
  stream.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xf4]))
  await once(session, "close", { signal: AbortSignal.timeout(8_000) })
})

/** Opens one over HTTP/2. */
async function openH2(
  gateway: Running,
  path: string,
): Promise<{ session: ClientHttp2Session; stream: ClientHttp2Stream; status: number }> {
  const session = connectH2(`http://127.0.0.1:${gateway.port}`)
  session.on("error", () => {})
  await once(session, "remoteSettings")
  const fields = { ":method": "CONNECT", ":protocol": "websocket", ":path": path, ":authority": "localhost" }
  const stream = session.request({ ...fields, "sec-websocket-version": "13" } as never)
  stream.on("error", () => {})
  const [{ ":status": status }] = await once(stream, "response")
  return { session, stream, status }
}

test("over HTTP/2 the key is the gateway's own: a service that accepts another one is none", async (t) => {
  const gateway = await start()
  t.teardown(gateway.stop)
  const { session, status } = await openH2(gateway, "/other")
  t.is(status, 502)
  session.destroy()
})

test("a service that breaks its connection off cancels the stream, and the log names the request", async (t) => {
  const gateway = await start()
  t.teardown(gateway.stop)
  const { session, stream, status } = await openH2(gateway, "/raw")
  t.is(status, 200)
  const closed = once(stream, "close", { signal: AbortSignal.timeout(5_000) })
  raw?.resetAndDestroy()
  await closed
  t.is(stream.rstCode, constants.NGHTTP2_CANCEL)
  session.destroy()
  t.true(await until(() => gateway.output().includes('"msg":"GET /raw UC"')), gateway.output())
})

test("a WebSocket reaches a service that speaks HTTP/2 only, from clients of both versions", async (t) => {
  const gateway = await start()
  t.teardown(gateway.stop)
  const socket = await open(gateway, "/h2", ["chat"])
  t.is(socket.protocol, "chat")
  t.is(await said(socket, "over two versions"), "over two versions")
  const ended = closed(socket)
  socket.close(1000)
  t.is((await ended).code, 1000)
  const session = connectH2(`http://127.0.0.1:${gateway.port}`)
  await once(session, "remoteSettings")
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":path": "/h2",
    ":authority": "localhost",
    "sec-websocket-version": "13",
  } as never)
  await once(stream, "response")
  stream.write(Buffer.from([0x81, 0x82, 1, 1, 1, 1, 0x69, 0x68]))
  const [data] = await once(stream, "data")
  t.is(data.subarray(2).toString(), "hi")
  session.destroy()
})

test("much data passes both ways unharmed, however slowly it is taken", async (t) => {
  const gateway = await start()
  t.teardown(gateway.stop)
  const socket = await open(gateway, "/echo")
  const sent = Buffer.alloc(3_000_000, "0123456789")
  socket.send(sent)
  socket.pause()
  await sleep(200)
  socket.resume()
  const [back] = await once(socket, "message")
  t.true(sent.equals(back))
  socket.terminate()
})
