/** What the gateway's own answers say of their bodies and connections, and how long a client may take: by raw sockets. */
import { once } from "node:events"
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { collect, exchange, type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
const site = mkdtempSync(join(tmpdir(), "tidegate-site-"))
let gateway: Running
let answer = (_head: string, socket: Socket): unknown => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
const upstream = createServer((socket) => {
  socket.on("error", () => undefined)
  socket.on("data", (data) => answer(data.toString("latin1"), socket))
})

ava.before(async () => {
  mkdirSync(join(site, "sub"))
  writeFileSync(join(site, "index.html"), "the page")
  writeFileSync(join(site, "sub/index.html"), "the sub page")
  writeFileSync(join(site, "ten.txt"), "0123456789")
  writeFileSync(join(site, "large.bin"), Buffer.alloc(16 << 20))
  await once(upstream.listen(0, "127.0.0.1"), "listening")
  const rest = { rewrite: { path: "/{rest}" } }
  gateway = await runGateway({
    workers: 1,
    log: { access: { format: "common", file: "access.log" } },
    limits: { stallTimeoutMs: 1_500 },
    upstreams: {
      api: { endpoints: [`127.0.0.1:${(upstream.address() as AddressInfo).port}`], breaker: { failures: 0 } },
      gated: {
        endpoints: [`127.0.0.1:${(upstream.address() as AddressInfo).port}`],
        breaker: { failures: 1, openMs: 300, maxOpenMs: 60_000 },
      },
    },
    routes: [
      { when: { path: "/own" }, to: { respond: { body: "own" } } },
      { when: { path: "/none/{status}" }, to: { respond: { status: 204, body: "{status}" } } },
      { when: { path: "/nothing" }, to: { respond: { status: 204, body: "x" } } },
      { when: { path: "/known" }, to: { respond: { status: 304, body: "x" } } },
      { when: { path: "/reset" }, to: { respond: { status: 205, body: "x" } } },
      {
        when: { path: "/down/{who}" },
        to: { respond: { status: 503, body: "{who}", headers: { "x-a": "1", "Retry-After": "77" } } },
      },
      { when: { path: "/files/**" }, to: { directory: site } },
      { when: { path: "/app/**" }, to: { directory: site }, use: [{ rewrite: { path: "/index.html" } }] },
      { when: { path: "/always/**" }, to: { directory: site }, use: [{ rewrite: { path: "/sub" } }] },
      { when: { path: "/moved/**" }, to: { directory: site }, use: [{ rewrite: { path: "/{rest}" } }] },
      { when: { path: "/total/**" }, to: "api", use: [{ timeout: { totalMs: 300 } }, rest] },
      {
        when: { path: "/cors/**" },
        to: "api",
        use: [{ cors: { origins: ["https://app.example"] } }, rest],
      },
      { when: { path: "/api/**" }, to: "api", use: [rest] },
      { when: { path: "/bounded" }, to: "api", use: [{ bodyLimit: { bytes: 1_000 } }] },
      { when: { path: "/gated/**" }, to: "gated", use: [rest] },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  upstream.close()
  rmSync(site, { recursive: true, force: true })
})

const get = (path: string, ...lines: string[]): string =>
  `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines.join("\r\n")}\r\n\r\n`
const closing = (path: string, ...lines: string[]): Promise<string> =>
  exchange(gateway.port, get(path, ...lines, "Connection: close"))

test("a status without a body has none, whatever the configuration says: the next answer begins behind its head", async (t) => {
  for (const [path, status] of [
    ["/nothing", 204],
    ["/none/x", 204],
    ["/known", 304],
    ["/reset", 205],
  ] as const) {
    const text = await exchange(gateway.port, get(path) + get("/own", "Connection: close"))
    const [first, second, own] = text.split("\r\n\r\n")
    t.true(first?.startsWith(`HTTP/1.1 ${status} `), text)
    t.true(second?.startsWith("HTTP/1.1 200 OK"), text)
    t.is(own, "own")
  }
})

test("a client of HTTP/1.0 that asks to keep its connection is told that it may", async (t) => {
  answer = (_head, socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
  for (const path of ["/own", "/nothing", "/files/ten.txt", "/api/x", "/no/such/route"]) {
    const request = `GET ${path} HTTP/1.0\r\nConnection: keep-alive\r\n\r\n`
    const text = await exchange(gateway.port, request + request, /HTTP\/1\.1 [\s\S]*HTTP\/1\.1 [\s\S]*\r\n\r\n/)
    t.is(text.match(/^connection: keep-alive\r$/gim)?.length, 2, text)
  }
  t.notRegex(await exchange(gateway.port, get("/own"), /own$/), /keep-alive/i)
})

test("OPTIONS * asks about the gateway, and Retry-After of the configuration stands alone", async (t) => {
  const about = await exchange(gateway.port, "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
  t.regex(about, /^HTTP\/1\.1 204 No Content\r\nallow: GET, HEAD, POST/)
  t.regex(await closing("/down/me"), /^HTTP\/1\.1 503 .*\r\nx-a: 1\r\nRetry-After: 77\r\ncontent-type/)
})

test("a higher minor version is read as 1.1, of an answer and of a request, and answered as 1.1", async (t) => {
  let seen = ""
  answer = (head, socket) => {
    seen = head
    socket.write("HTTP/1.3 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nok")
  }
  const text = await closing("/api/x")
  t.regex(text, /^HTTP\/1\.1 103 [\s\S]*\r\n\r\nHTTP\/1\.1 200 OK\r\n[\s\S]*ok$/)
  t.notRegex(text, /HTTP\/1\.[23]/)
  const request = "GET /api/x HTTP/1.2\r\nHost: a\r\n\r\n"
  const both = await exchange(gateway.port, request + request, /(ok[\s\S]*){2}/)
  t.is(both.match(/HTTP\/1\.1 200/g)?.length, 2, both)
  t.true(seen.startsWith("GET /x HTTP/1.1\r\n"), seen)
})

/** Sends all of it, then reads; what there was to read. */
async function sendFirst(bytes: Buffer): Promise<string> {
  const socket = connect(gateway.port, "127.0.0.1").pause()
  await new Promise<void>((sent, failed) => {
    socket.on("error", failed)
    socket.write(bytes, () => sent())
  })
  socket.resume()
  return collect(socket)
}

const long = (path: string, length: number): Buffer =>
  Buffer.concat([Buffer.from(get(path, `Content-Length: ${length}`).replace("GET", "POST")), Buffer.alloc(length)])

test("an upstream that answers early and resets is heard", async (t) => {
  answer = (_head, socket) => {
    socket.write("HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
    socket.resetAndDestroy()
  }
  for (let n = 0; n < 20; n += 1) t.regex(await sendFirst(long("/api/x", 8 << 20)), /^HTTP\/1\.1 413 [\s\S]*no$/)
})

test("who is refused and still sends can send it all, and then reads why", async (t) => {
  t.regex(await sendFirst(long("/bounded", 32 << 20)), /^HTTP\/1\.1 413 /)
})

test("a query may hold what browsers do not escape", async (t) => {
  let seen = ""
  answer = (head, socket) => {
    seen = head
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
  }
  t.regex(await closing("/api/a|b^?family=A|B&filter={x}`\\[1]"), /^HTTP\/1\.1 200/)
  t.true(seen.startsWith("GET /a|b^?family=A|B&filter={x}`\\[1] HTTP/1.1\r\n"), seen)
  for (const path of ["/api/{x}", "/api/a\\b", "/api/a`b", '/api?"', "/api?<x>"]) {
    t.regex(await closing(path), /^HTTP\/1\.1 400/, path)
  }
})

test("a rewrite to one file serves it for every path, one to a folder its index", async (t) => {
  for (const path of ["/app", "/app/", "/app/deep/link/", "/app/deep/link"]) t.regex(await closing(path), /the page$/)
  for (const path of ["/always/", "/always/x/"]) t.regex(await closing(path), /the sub page$/)
  t.regex(await closing("/moved/sub/"), /the sub page$/)
  t.regex(await closing("/moved/sub"), /^HTTP\/1\.1 301 [\s\S]*location: \/moved\/sub\/\r\n/)
  t.regex(await closing("/moved/ten.txt/"), /^HTTP\/1\.1 404/)
})

test("nobody can write a file that looks like several ranges: their boundary is new each time", async (t) => {
  const boundary = async (): Promise<string> => {
    const text = await closing("/files/ten.txt", "Range: bytes=0-1,4-5")
    const [, name = ""] = /multipart\/byteranges; boundary=(\S+)/.exec(text) ?? []
    t.is(text.split(`--${name}`).length, 4, text)
    return name
  }
  t.not(await boundary(), await boundary())
})

test("the total time of a route begins with the request: also an upstream that says nothing has no more", async (t) => {
  answer = () => undefined
  const began = Date.now()
  t.regex(await closing("/total/never"), /^HTTP\/1\.1 504 [\s\S]*details="DT"/)
  t.true(Date.now() - began < 2_000)
})

test("what a service says of other origins does not widen what its route allows", async (t) => {
  answer = (_head, socket) =>
    socket.write(
      "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\nContent-Length: 2\r\n\r\nok",
    )
  for (const origin of ["https://evil.example", "null"]) {
    t.notRegex(await closing("/cors/x", `Origin: ${origin}`), /access-control/i)
  }
  const text = await closing("/cors/x", "Origin: https://app.example")
  t.deepEqual(text.match(/^access-control[^\r]*/gim), ["access-control-allow-origin: https://app.example"])
})

test("a probe whose client leaves lets the next one through", async (t) => {
  answer = (_head, socket) => socket.destroy()
  t.regex(await closing("/gated/x"), /^HTTP\/1\.1 502/)
  t.regex(await closing("/gated/x"), /^HTTP\/1\.1 503/)
  await sleep(400)
  answer = () => undefined
  const leaving = connect(gateway.port, "127.0.0.1", () => leaving.write(get("/gated/x")))
  await sleep(100)
  leaving.resetAndDestroy()
  await sleep(200)
  answer = (_head, socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
  t.regex(await closing("/gated/x"), /^HTTP\/1\.1 200/)
})

/** A client that takes so many bytes each 100 ms; how many there were after so long. */
async function reader(path: string, bytes: number, ms: number): Promise<number> {
  const socket = connect(gateway.port, "127.0.0.1")
  socket.on("error", () => undefined).pause()
  socket.write(get(path))
  let taken = 0
  for (const end = Date.now() + ms; Date.now() < end; await sleep(100)) {
    for (let left = bytes; left > 0; ) {
      const data: Buffer | null = socket.read()
      if (data === null) break
      left -= data.length
      taken += data.length
    }
  }
  socket.destroy()
  return taken
}

/** Connections that the gateway has closed and that the kernel keeps for what their clients have not taken. */
const leftBehind = (): number => {
  const port = `:${gateway.port.toString(16).toUpperCase().padStart(4, "0")}`
  const lines = readFileSync("/proc/net/tcp", "utf8").split("\n")
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local?.endsWith(port) && state === "04").length
}

test("who reads slowly is served on, and who reads nothing is cut off without a rest", async (t) => {
  if (process.platform !== "linux") return t.pass("the kernel of Linux tells of both")
  answer = (_head, socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 16777216\r\n\r\n")
    socket.write(Buffer.alloc(16 << 20))
  }
  const paths = ["/api/large", "/files/large.bin"]
  const slow = Promise.all(paths.map((path) => reader(path, 20_000, 8_000)))
  const silent = Promise.all(paths.map((path) => reader(path, 0, 8_000)))
  await sleep(7_000)
  t.is(leftBehind(), 0)
  t.deepEqual(await silent, [0, 0])
  for (const taken of await slow) t.true(taken > 1_000_000, String(taken))
})

test("the access log has the line that broke a rule, and how long the gateway's own words were", async (t) => {
  answer = (_head, socket) => socket.destroy()
  await closing("/<x>")
  await exchange(gateway.port, "SSH-2.0-x\r\n\r\n")
  const failed = await closing("/api/gone")
  const bytes = failed.split("\r\n\r\n")[1]?.length
  await sleep(1_500)
  const log = readFileSync(join(gateway.folder, "access.log"), "utf8")
  t.true(log.includes('"GET /<x> HTTP/1.1" 400 '), log)
  t.true(log.includes('"SSH-2.0-x -" 400 '), log)
  t.true(log.includes(`"GET /api/gone HTTP/1.1" 502 ${bytes}\n`), log)
  t.regex(gateway.output(), /"msg":"GET \/api\/gone UC"/)
})
