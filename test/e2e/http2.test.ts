/** HTTP/2 of clients, in TLS and by prior knowledge: curl, nghttp, h2load, node:http2, raw frames. */

import { once } from "node:events"
import { type ClientHttp2Session, type ClientHttp2Stream, connect as connectH2, constants } from "node:http2"
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { WebSocketServer } from "ws"
import { has, type Running, run, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let api: Awaited<ReturnType<typeof upstream>>
const seen: { line: string; headers: NodeJS.Dict<string | string[]>; body: string; trailers: NodeJS.Dict<string> }[] =
  []

ava.before(async () => {
  api = await upstream((request, response) => {
    let body = ""
    request.on("data", (data) => {
      body += data
    })
    request.on("end", () => {
      const { method, url = "", headers, trailers } = request
      seen.push({ line: `${method} ${url}`, headers, body, trailers })
      if (url.endsWith("/big")) response.end(Buffer.alloc(2_000_000, "x"))
      else if (url.endsWith("/trailers")) {
        response.write("one ")
        response.addTrailers({ "x-sum": "7" })
        response.end("two")
      } else if (url.endsWith("/never")) response.write("some")
      else if (url.endsWith("/empty")) response.writeHead(204).end()
      else response.end(`got ${body.length}`)
    })
  })
  new WebSocketServer({ server: api.server }).on("connection", (socket) => {
    socket.on("message", (data) => socket.send(`echo ${String(data)}`))
  })
  gateway = await runGateway({
    upstreams: { api: { endpoints: [api.address] } },
    routes: [
      { when: { path: "/api/**" }, to: "api" },
      { when: { path: "/h2only", protocol: "http2" }, to: { respond: { status: 200, body: "by protocol" } } },
      { when: { path: "/limited" }, to: "api", use: [{ rateLimit: { perSecond: 1, burst: 1, key: "clientIp" } }] },
    ],
  })
})
ava.after.always(async () => {
  await gateway?.stop()
  api?.server.closeAllConnections()
  api?.server.close()
})

const origin = (): string => `http://127.0.0.1:${gateway.port}`

async function session(): Promise<ClientHttp2Session> {
  const client = connectH2(origin())
  client.on("error", () => {})
  await once(client, "remoteSettings")
  return client
}

interface Answer {
  readonly status: number
  readonly headers: NodeJS.Dict<string | string[] | number>
  readonly body: string
  readonly trailers: NodeJS.Dict<string | string[]> | null
}

async function answer(stream: ClientHttp2Stream): Promise<Answer> {
  let body = ""
  let trailers: Answer["trailers"] = null
  stream.setEncoding("utf8")
  stream.on("data", (data) => {
    body += data
  })
  stream.on("trailers", (fields) => {
    trailers = fields
  })
  const ended = once(stream, "end")
  const [headers] = await once(stream, "response")
  await ended
  return { status: headers[":status"], headers, body, trailers }
}

async function metric(pattern: RegExp): Promise<string> {
  return pattern.exec(await (await fetch(`${gateway.admin}/metrics`)).text())?.[1] ?? ""
}

if (has("curl", "curl")) {
  test("curl speaks HTTP/2 by prior knowledge, with bodies of every kind", async (t) => {
    const curl = async (...args: string[]) => (await run("curl", ["-sS", "--http2-prior-knowledge", ...args])).out
    t.is(await curl("-w", " %{http_version} %{http_code}", `${origin()}/api/a`), "got 0 2 200")
    t.is(await curl("-d", "x=1", `${origin()}/api/post`), "got 3")
    t.is(await curl("-o", "/dev/null", "-w", "%{size_download}", `${origin()}/api/big`), "2000000")
    t.is(await curl("-I", "-w", "%{http_code}", "-o", "/dev/null", `${origin()}/api/a`), "200")
    t.is(await curl("-o", "/dev/null", "-w", "%{http_code}", `${origin()}/api/empty`), "204")
    t.is(await curl("-o", "/dev/null", "-w", "%{http_code}", `${origin()}/nowhere`), "404")
    t.is(await curl(`${origin()}/h2only`), "by protocol")
    t.is((await run("curl", ["-sS", "-o", "/dev/null", "-w", "%{http_code}", `${origin()}/h2only`])).out, "404")
  })
}

test("a streamed body becomes chunks, cookies one field, trailers pass both ways", async (t) => {
  const client = await session()
  const stream = client.request(
    { ":method": "POST", ":path": "/api/trailers", cookie: ["a=1", "b=2"], te: "trailers" } as never,
    { waitForTrailers: true },
  )
  stream.on("wantTrailers", () => stream.sendTrailers({ "x-check": "9" }))
  stream.write("first ")
  await sleep(50)
  stream.end("second")
  const { status, body, trailers } = await answer(stream)
  t.deepEqual([status, body, trailers?.["x-sum"]], [200, "one two", "7"])
  const { headers, body: sent, trailers: sentTrailers } = seen.at(-1) ?? t.fail()
  t.deepEqual([sent, headers.cookie, headers["transfer-encoding"]], ["first second", "a=1; b=2", "chunked"])
  t.is(sentTrailers["x-check"], "9")
  client.close()
})

test("many streams at the same time, each with its own answer", async (t) => {
  const client = await session()
  const all = Array.from({ length: 100 }, (_, index) => {
    const stream = client.request({ ":method": "POST", ":path": `/api/${index}` })
    stream.end("x".repeat(index * 100))
    return answer(stream)
  })
  for (const [index, { body }] of (await Promise.all(all)).entries()) t.is(body, `got ${index * 100}`)
  client.close()
})

test("the same routes, topics, event streams and limits as of HTTP/1.1, counted as http2", async (t) => {
  const client = await session()
  const put = client.request({ ":method": "PUT", ":path": "/t/h2/a" })
  put.end("21.5")
  t.is((await answer(put)).status, 202)
  const stream = client.request({ ":path": "/t/h2/%2B", accept: "text/event-stream" })
  stream.setEncoding("utf8")
  let events = ""
  stream.on("data", (data) => {
    events += data
  })
  for (const end = Date.now() + 5_000; !/data: 21\.5/.test(events) && Date.now() < end; ) await sleep(20)
  t.regex(events, /id: h2\/a\ndata: 21\.5/)
  stream.close(constants.NGHTTP2_CANCEL)
  const codes = []
  for (let count = 0; count < 3; count++) codes.push((await answer(client.request({ ":path": "/limited" }))).status)
  t.true(codes.includes(429), codes.join())
  t.regex(await metric(/tidegate_requests_total\{code="(429)",protocol="http2"/), /429/)
  client.close()
})

test("a WebSocket over HTTP/2 reaches an HTTP/1.1 upstream (RFC 8441)", async (t) => {
  const client = await session()
  t.true(client.remoteSettings.enableConnectProtocol)
  const stream = client.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":path": "/api/socket",
    ":authority": "localhost",
    "sec-websocket-version": "13",
  } as never)
  const [headers] = await once(stream, "response")
  t.is(headers[":status"], 200)
  t.is(headers["sec-websocket-accept"], undefined)
  // A masked text frame: "hi" under the mask 0.
  stream.write(Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0x68, 0x69]))
  const [data] = await once(stream, "data")
  t.is(data.subarray(2).toString(), "echo hi")
  stream.close()
  client.close()
})

test("MQTT works in a WebSocket over HTTP/2", async (t) => {
  const client = await session()
  const stream = client.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":path": "/mqtt",
    ":authority": `127.0.0.1:${gateway.port}`,
    "sec-websocket-version": "13",
    "sec-websocket-protocol": "mqtt",
  } as never)
  const [headers] = await once(stream, "response")
  t.deepEqual([headers[":status"], headers["sec-websocket-protocol"]], [200, "mqtt"])
  const connect = Buffer.from([0x10, 14, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 60, 0, 2, 0x68, 0x32])
  stream.write(Buffer.concat([Buffer.from([0x82, 0x80 | connect.length, 0, 0, 0, 0]), connect]))
  const [data] = await once(stream, "data")
  t.deepEqual([...data], [0x82, 4, 0x20, 2, 0, 0])
  stream.close()
  client.close()
})

test("a stream that the client takes back lets go of its upstream", async (t) => {
  const client = await session()
  const stream = client.request({ ":path": "/api/never" })
  await once(stream, "data")
  const closed = new Promise((resolve) =>
    api.server.once("connection", (socket: Socket) => socket.once("close", resolve)),
  )
  stream.close(constants.NGHTTP2_CANCEL)
  void closed
  t.is((await answer(client.request({ ":path": "/api/after" }))).body, "got 0")
  client.close()
})

const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
const frame = (type: number, flags: number, stream: number, payload: Buffer = Buffer.alloc(0)): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}
// Indexed: GET, http, /; a literal authority.
const HEAD = Buffer.from([0x82, 0x86, 0x84, 0x41, 0x01, 0x61])

/** Sends frames behind the preface; the error code of the GOAWAY that comes, or why none did. */
async function goaway(frames: Buffer): Promise<number | string> {
  const socket = connect(gateway.port, "127.0.0.1")
  const chunks: Buffer[] = []
  socket.on("data", (data) => chunks.push(data))
  socket.on("error", () => {})
  socket.write(Buffer.concat([PREFACE, frame(4, 0, 0), frames]))
  const timer = setTimeout(() => socket.destroy(), 4_000)
  await new Promise((resolve) => socket.on("close", resolve))
  clearTimeout(timer)
  let rest = Buffer.concat(chunks)
  while (rest.length >= 9) {
    const length = rest.readUIntBE(0, 3)
    if (rest[3] === 7) return rest.readUInt32BE(13)
    rest = rest.subarray(9 + length)
  }
  return "no GOAWAY"
}

interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

/** Every whole frame that comes. */
function readFrames(socket: Socket, take: (frame: Frame) => void): void {
  let rest = Buffer.alloc(0)
  socket.on("data", (data) => {
    rest = Buffer.concat([rest, data])
    while (rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const end = 9 + rest.readUIntBE(0, 3)
      const [type, flags, stream] = [rest.readUInt8(3), rest.readUInt8(4), rest.readUInt32BE(5)]
      take({ type, flags, stream, payload: rest.subarray(9, end) })
      rest = rest.subarray(end)
    }
  })
}

const CALM = 11
const repeat = (count: number, each: (index: number) => Buffer): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, index) => each(index)))
const floods: [string, Buffer, string][] = [
  [
    "resets",
    repeat(200, (n) =>
      Buffer.concat([frame(1, 5, 2 * n + 1, HEAD), frame(3, 0, 2 * n + 1, Buffer.from([0, 0, 0, 8]))]),
    ),
    "rapid-reset",
  ],
  ["PING", repeat(1_500, () => frame(6, 0, 0, Buffer.alloc(8))), "control-flood"],
  ["SETTINGS", repeat(1_500, () => frame(4, 0, 0)), "control-flood"],
  ["WINDOW_UPDATE", repeat(1_500, () => frame(8, 0, 0, Buffer.from([0, 0, 0, 1]))), "control-flood"],
  ["PRIORITY", repeat(1_500, () => frame(2, 0, 1, Buffer.from([0, 0, 0, 0, 1]))), "control-flood"],
  [
    "CONTINUATION",
    Buffer.concat([frame(1, 1, 1, HEAD), repeat(30, () => frame(9, 0, 1, Buffer.from([0x40, 1, 0x61, 1, 0x61])))]),
    "continuation-flood",
  ],
]

for (const [name, frames, reason] of floods) {
  test(`a flood of ${name} ends that connection with ENHANCE_YOUR_CALM and is counted`, async (t) => {
    t.is(await goaway(frames), CALM)
    t.not(await metric(new RegExp(`tidegate_dropped_total\\{protocol="http2",reason="${reason}"\\} (\\d+)`)), "")
  })
}

test("a client that reads much may open its windows as often as it likes", async (t) => {
  const client = await session()
  t.teardown(() => client.destroy())
  // Node opens both windows for each 32 KiB read: some 5,000 WINDOW_UPDATEs, and a PING beside each answer.
  const goaways: number[] = []
  client.on("goaway", (code) => goaways.push(code))
  const sizes: number[] = []
  for (let round = 0; round < 4; round++) {
    const answers = Array.from({ length: 10 }, () => answer(client.request({ ":path": "/api/big" })))
    for (const { body } of await Promise.all(answers)) sizes.push(body.length)
    await new Promise((resolve) => client.ping(resolve))
  }
  t.deepEqual([goaways, sizes], [[], Array(40).fill(2_000_000)])
})

test("streams beyond SETTINGS_MAX_CONCURRENT_STREAMS are refused, the others and the connection are not", async (t) => {
  const socket = connect(gateway.port, "127.0.0.1")
  t.teardown(() => socket.destroy())
  const max = 128
  // POST without an end: each stays open.
  const open = (n: number): Buffer => frame(1, 4, 2 * n + 1, Buffer.from([0x83, 0x86, 0x84, 0x41, 0x01, 0x61]))
  socket.write(Buffer.concat([PREFACE, frame(4, 0, 0), repeat(max + 20, open)]))
  const resets: [stream: number, code: number][] = []
  let allowed = 0
  let pongs = 0
  readFrames(socket, ({ type, flags, stream, payload }) => {
    if (type === 3) resets.push([stream, payload.readUInt32BE(0)])
    if (type === 6 && (flags & 1) === 1) pongs++
    for (let at = 0; type === 4 && at + 6 <= payload.length; at += 6)
      if (payload.readUInt16BE(at) === 3) allowed = payload.readUInt32BE(at + 2)
  })
  const REFUSED_STREAM = 7
  for (const end = Date.now() + 5_000; resets.length < 20 && Date.now() < end; ) await sleep(20)
  t.is(allowed, max)
  const refused = resets.filter(([, code]) => code === REFUSED_STREAM).map(([stream]) => stream)
  t.deepEqual(
    refused,
    Array.from({ length: 20 }, (_, index) => 2 * (max + index) + 1),
  )
  socket.write(frame(6, 0, 0, Buffer.alloc(8)))
  for (const end = Date.now() + 5_000; pongs === 0 && Date.now() < end; ) await sleep(20)
  t.is(pongs, 1, "the connection lives")
})

test("a head that is too large is refused alone", async (t) => {
  const client = await session()
  const headers = Object.fromEntries(Array.from({ length: 120 }, (_, index) => [`x-${index}`, "1"]))
  t.is((await answer(client.request({ ":path": "/api/a", ...headers }))).status, 431)
  t.is((await answer(client.request({ ":path": "/api/a" }))).status, 200)
  client.close()
})

test("a fragment in the path is refused alone, also where it is named by the table of HPACK", async (t) => {
  const client = await session()
  for (const [path, status] of [
    ["/api/a#b", 400],
    ["/api/a", 200],
    ["/api/a#b", 400],
    ["/api/#", 400],
    ["/api/a?q=%23", 200],
  ] as const) {
    t.is((await answer(client.request({ ":path": path, "x-other": "a#b" }))).status, status, path)
  }
  t.false(seen.some(({ line }) => line.includes("#")))
  client.close()
})

test("two names for the host end the stream, not the connection", async (t) => {
  const client = await session()
  const stream = client.request({ ":path": "/api/a", ":authority": "a.test", host: "b.test" })
  const [error] = await once(stream, "error")
  t.regex(String(error), /PROTOCOL_ERROR/)
  t.is((await answer(client.request({ ":path": "/api/a" }))).status, 200)
  client.close()
})

test("a request that names no host is refused, as one of HTTP/1.1 is", async (t) => {
  const socket = connect(gateway.port, "127.0.0.1")
  const before = seen.length
  // Indexed: GET, http, /.
  socket.write(Buffer.concat([PREFACE, frame(4, 0, 0), frame(1, 5, 1, Buffer.from([0x82, 0x86, 0x84]))]))
  let came = Buffer.alloc(0)
  const first = (): number | undefined => {
    for (let rest = came; rest.length > 9; rest = rest.subarray(9 + rest.readUIntBE(0, 3))) {
      if (rest[3] === 1) return rest[9]
    }
    return undefined
  }
  for await (const data of socket) {
    came = Buffer.concat([came, data])
    if (first() !== undefined) break
  }
  t.is(first(), 0x8c, "the static table's entry of 400")
  t.is(seen.length, before)
  socket.destroy()
})

if (has("h2load", "nghttp2-client")) {
  test("h2load has every request answered", async (t) => {
    const { out } = await run("h2load", ["-n", "2000", "-c", "4", "-m", "32", `${origin()}/api/load`], 30_000)
    t.regex(out, /2000 succeeded, 0 failed/)
  })
}

test("a gateway that leaves says GOAWAY twice and finishes what is under way", async (t) => {
  const leaving = await runGateway({
    upstreams: { api: { endpoints: [api.address] } },
    routes: [{ when: { path: "/api/**" }, to: "api" }],
    drain: { timeoutMs: 2_000 },
  })
  const client = connectH2(`http://127.0.0.1:${leaving.port}`)
  await once(client, "remoteSettings")
  const last: number[] = []
  client.on("goaway", (_code, lastStream) => last.push(lastStream))
  client.on("error", () => {})
  const stream = client.request({ ":method": "POST", ":path": "/api/late" })
  stream.write("a")
  const answered = answer(stream)
  await sleep(100)
  const stopped = leaving.stop()
  for (const end = Date.now() + 3_000; last.length === 0 && Date.now() < end; ) await sleep(10)
  stream.end("b")
  t.is((await answered).body, "got 2")
  t.is(await stopped, 0)
  t.true(last.length >= 2, `GOAWAY with ${last.join()}`)
})

test("who leaves says GOAWAY twice: first all streams, then the last one; what is under way ends first", async (t) => {
  const leaving = await runGateway({
    drain: { timeoutMs: 3_000 },
    upstreams: { api: { endpoints: [api.address] } },
    routes: [{ when: { path: "/**" }, to: "api" }],
  })
  t.teardown(leaving.stop)
  const socket = connect(leaving.port, "127.0.0.1")
  socket.on("error", () => {})
  socket.write(Buffer.concat([PREFACE, frame(4, 0, 0), frame(1, 4, 1, HEAD)]))
  const seenFrames: string[] = []
  readFrames(socket, ({ type, flags, payload }) => {
    if (type === 6 && flags === 0) {
      seenFrames.push("PING")
      socket.write(frame(6, 1, 0, payload))
    }
    if (type === 7) seenFrames.push(`GOAWAY ${payload.readUInt32BE(0)} ${payload.readUInt32BE(4)}`)
    if (type === 0 && (flags & 1) === 1) seenFrames.push("answer")
  })
  await sleep(200)
  leaving.process.kill("SIGTERM")
  for (const end = Date.now() + 4_000; seenFrames.length < 3 && Date.now() < end; ) await sleep(20)
  t.deepEqual(seenFrames, ["GOAWAY 2147483647 0", "PING", "GOAWAY 1 0"])
  // The request's body ends only now.
  socket.write(frame(0, 1, 1, Buffer.from("x")))
  await once(socket, "close", { signal: AbortSignal.timeout(5_000) })
  t.is(seenFrames.at(-1), "answer")
})
