/** Lines 8, 12 to 15, 17 and 18: slow and dirty exchanges, by raw sockets on both sides. */
import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { collect, exchange, type Running, runGateway } from "../e2e/run-gateway.ts"

const test = ava.serial
let gateway: Running
let origin: Server
/** What the next connections of the origin do with what they read. */
let behave: (socket: Socket, data: string) => void = () => {}
let connections = 0
const open = new Set<Socket>()

ava.before(async () => {
  origin = createServer((socket) => {
    connections += 1
    open.add(socket)
    socket.on("error", () => {})
    socket.on("data", (data) => behave(socket, data.toString("latin1")))
  }).listen(0, "127.0.0.1")
  await once(origin, "listening")
  gateway = await runGateway({
    workers: 1,
    limits: { headerTimeoutMs: 700, halfOpenMs: 700, stallTimeoutMs: 1_000, idleTimeoutMs: 5_000 },
    upstreams: { origin: { endpoints: [`127.0.0.1:${(origin.address() as AddressInfo).port}`] } },
    routes: [{ when: { path: "/**" }, to: "origin", timeoutMs: 3_000 }],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  for (const socket of open) socket.destroy()
  origin?.close()
})

const GET = "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
const UPGRADE =
  "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
const ok = (socket: Socket): void => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

/** Drips text, then tells what came until the connection closed and how long that took. */
async function drip(first: string, drop: string, everyMs: number): Promise<{ answer: string; tookMs: number }> {
  const started = Date.now()
  const socket = connect(gateway.port, "127.0.0.1", () => socket.write(first))
  socket.on("error", () => {})
  const timer = setInterval(() => socket.writable && socket.write(drop), everyMs)
  const answer = await collect(socket)
  clearInterval(timer)
  return { answer, tookMs: Date.now() - started }
}

test("17: a head that drips is cut by one total deadline, not by one per read", async (t) => {
  const { answer, tookMs } = await drip("GET /x HTTP/1.1\r\nHost: a\r\n", "A: b\r\n", 100)
  t.regex(answer, /^HTTP\/1.1 408 /)
  t.true(tookMs < 3_000, `${tookMs} ms`)
})

test("17: the deadline counts for a second request of the connection too", async (t) => {
  behave = ok
  const { answer, tookMs } = await drip(`${GET}GET /y HTTP/1.1\r\n`, "A: b\r\n", 100)
  t.regex(answer, /200 OK[\s\S]*HTTP\/1.1 408 /)
  t.true(tookMs < 3_000, `${tookMs} ms`)
})

test("8: an endless header line and an endless header are cut as they arrive", async (t) => {
  const endless = await drip("GET /x HTTP/1.1\r\nHost: a\r\nA: ", "x".repeat(4_096), 5)
  t.regex(endless.answer, /^HTTP\/1.1 431 /)
  const many = await drip("GET /x HTTP/1.1\r\nHost: a\r\n", "A: b\r\n".repeat(40), 5)
  t.regex(many.answer, /^HTTP\/1.1 431 /)
})

test("18: a body that stops coming is cut, and the upstream connection with it", async (t) => {
  let closed = false
  behave = (socket) => socket.once("close", () => (closed = true))
  const { tookMs } = await drip("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc", "", 10_000)
  t.true(tookMs < 4_900, `${tookMs} ms`)
  await sleep(50)
  t.true(closed)
})

test("18: a body that drips is cut, whoever would take it", async (t) => {
  behave = () => {}
  const { answer, tookMs } = await drip("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n", "x", 50)
  t.regex(answer, /^HTTP\/1.1 408 /)
  t.true(tookMs < 4_900, `${tookMs} ms`)
})

test("18: a reader that takes nothing is cut after the stall limit and costs no other", async (t) => {
  behave = (socket, data) => {
    if (!data.includes("/large")) return ok(socket)
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 80000000\r\n\r\n${"x".repeat(8_000_000)}`)
  }
  const slow = connect(gateway.port, "127.0.0.1", () => slow.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n"))
  slow.on("error", () => {})
  const closed = new Promise((resolve) => slow.on("close", resolve))
  slow.pause()
  await sleep(200)
  const started = Date.now()
  t.regex(await exchange(gateway.port, GET, /ok$/), /200 OK/)
  t.true(Date.now() - started < 900)
  await sleep(2_800)
  slow.resume()
  await closed
  t.true(slow.bytesRead < 80_000_000)
})

test("12: bytes behind an upgrade request are held until the 101", async (t) => {
  let before = ""
  behave = (socket, data) => {
    before += data
    if (!data.includes("upgrade")) return
    setTimeout(() => {
      before += "<101>"
      socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    }, 150)
  }
  const socket = connect(gateway.port, "127.0.0.1", () => socket.write(`${UPGRADE}early`))
  await collect(socket, /101/)
  await sleep(100)
  socket.destroy()
  t.regex(before, /<101>early$/)
})

test("12: an upgrade that is not agreed on stays plain HTTP, and that socket serves nobody else", async (t) => {
  behave = ok
  await exchange(gateway.port, GET, /ok$/)
  const answer = await exchange(gateway.port, `${UPGRADE}${GET}`, /ok[\s\S]*ok$/)
  t.is(answer.match(/200 OK/g)?.length, 2)
  const before = connections
  behave = (socket, data) =>
    data.includes("/ws") ? socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno") : ok(socket)
  await exchange(gateway.port, UPGRADE, /no$/)
  await exchange(gateway.port, GET, /ok$/)
  t.true(connections > before, "the socket of a refused upgrade was used again")
})

test("12: a 101 that nobody asked for is a broken answer", async (t) => {
  behave = (socket) => socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
  t.regex(await exchange(gateway.port, GET, /\n$/), /^HTTP\/1.1 502 /)
})

for (const [name, answer] of [
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"],
  [
    "length and chunked",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
  ],
  ["unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok"],
  ["bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok"],
  ["folded header", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nok"],
  ["NUL in a value", "HTTP/1.1 200 OK\r\nA: b\0\r\nContent-Length: 2\r\n\r\nok"],
  ["no HTTP", "SSH-2.0-x\r\n\r\n"],
  ["an empty line in front", "\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
  ["a first chunk without size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n"],
  ["a chunk size and a space", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nok\r\n0\r\n\r\n"],
  ["a bare LF behind a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\r\n0\r\n\r\n"],
  ["a size of 17 digits", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\nok"],
  ["a malformed second chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n+2\r\nok\r\n"],
  ["a trailer that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nno trailer\r\n\r\n"],
  ["chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
  ["lengths in a list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok"],
  ["two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
  [
    "a head beyond the limit",
    `HTTP/1.1 200 OK\r\n${`A: ${"b".repeat(1_000)}\r\n`.repeat(40)}Content-Length: 2\r\n\r\nok`,
  ],
] as const) {
  test(`14: an answer with ${name} is a 502, and its socket is closed`, async (t) => {
    let closed = false
    behave = (socket) => {
      socket.once("close", () => (closed = true))
      socket.write(answer)
    }
    t.regex(await exchange(gateway.port, GET, /\n$/), /^HTTP\/1.1 502 /)
    await sleep(50)
    t.true(closed)
  })
}

test("14: space in front of a colon is taken out of an answer, which it framed all the same", async (t) => {
  behave = (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length : 2\r\nA\t: b\r\n\r\nok")
  const answer = await exchange(gateway.port, GET, /ok$/)
  t.regex(answer, /^HTTP\/1.1 200 OK\r\n[\s\S]*\r\n\r\nok$/)
  t.regex(answer, /\r\ncontent-length: 2\r\n/i)
  t.regex(answer, /\r\na: b\r\n/i)
})

test("14: chunks that go wrong behind a head that is out end the connection without a last chunk", async (t) => {
  let goOn = (): void => {}
  behave = (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
    goOn = () => socket.write("zz\r\nno\r\n0\r\n\r\n")
  }
  const socket = connect(gateway.port, "127.0.0.1", () => socket.write(GET))
  const first = await collect(socket, /ok\r\n$/)
  goOn()
  const whole = first + (await collect(socket))
  t.regex(whole, /^HTTP\/1.1 200 OK\r\n[\s\S]*\r\n\r\n2\r\nok\r\n$/)
})

test("14: a malformed answer counts as one, for its upstream's metrics", async (t) => {
  const count = async (): Promise<number> => {
    const text = await (await fetch(`${gateway.admin}/metrics`)).text()
    return Number(/tidegate_upstream_failures_total\{reason="UPE",upstream="origin"\} (\d+)/.exec(text)?.[1] ?? 0)
  }
  const before = await count()
  behave = (socket) => socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
  const answer = await exchange(gateway.port, GET, /\n$/)
  t.regex(answer, /proxy-status: tidegate; error=http_protocol_error/)
  t.is(await count(), before + 1)
})

test("14: bytes behind a whole answer reach nobody", async (t) => {
  behave = (socket) =>
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
  await exchange(gateway.port, GET, /ok/)
  behave = ok
  t.notRegex(await exchange(gateway.port, `${GET}${GET}`, /ok[\s\S]*ok$/), /evil/)
})

test("14: answers to HEAD, 204 and 304 end with their head, whatever they say", async (t) => {
  behave = (socket, data) => {
    const status = data.includes("/204") ? "204 No Content" : data.includes("/304") ? "304 Not Modified" : "200 OK"
    socket.write(`HTTP/1.1 ${status}\r\nContent-Length: 500\r\n\r\n`)
  }
  for (const [method, path] of [
    ["HEAD", "/x"],
    ["GET", "/204"],
    ["GET", "/304"],
  ]) {
    const one = `${method} ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
    const answer = await exchange(gateway.port, one + one, /HTTP[\s\S]*HTTP[\s\S]*\r\n\r\n$/)
    t.is(answer.match(/HTTP\/1.1 /g)?.length, 2, `${method} ${path}`)
  }
})

test("15: an early answer to an unread body leaves neither connection dirty", async (t) => {
  behave = (socket, data) =>
    data.startsWith("POST") ? socket.write("HTTP/1.1 413 X\r\nContent-Length: 2\r\n\r\nno") : ok(socket)
  const socket = connect(gateway.port, "127.0.0.1", () =>
    socket.write(`POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n${"x".repeat(100_000)}`),
  )
  socket.on("error", () => {})
  const answer = await collect(socket)
  t.regex(answer, /^HTTP\/1.1 413 /)
  t.regex(answer, /connection: close/i)
  t.regex(await exchange(gateway.port, GET, /ok$/), /200 OK/)
})
