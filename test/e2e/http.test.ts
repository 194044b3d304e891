/** HTTP/1.1 through the real command: framing, streaming, faults, upgrades, by raw sockets and curl. */
import { once } from "node:events"
import type { ServerResponse } from "node:http"
import { type AddressInfo, connect, createServer as createTcp, type Server as TcpServer } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { collect, exchange, has, type Running, run, runGateway, upstream } from "./run-gateway.ts"

// One after the other: they share the upstream's notes.
const test = ava.serial
let gateway: Running
let raw: TcpServer
let api: Awaited<ReturnType<typeof upstream>>
let answer: (data: string, write: (bytes: string) => void, end: () => void) => void = () => {}
const seen: { method?: string; url?: string; headers: NodeJS.Dict<string | string[]>; body: string }[] = []

function reply(response: ServerResponse, url: string): void {
  if (url.startsWith("/api/chunked")) {
    response.write("one ")
    response.write("two")
    response.addTrailers({ "x-sum": "7" })
    response.end()
  } else if (url.startsWith("/api/empty")) response.writeHead(204).end()
  else if (url.startsWith("/api/cached")) response.writeHead(304, { etag: '"a"' }).end()
  else if (url.startsWith("/api/big")) response.end(Buffer.alloc(3_000_000, "x"))
  else if (url.startsWith("/api/slow")) setTimeout(() => response.end("late"), 1_500)
  else if (url.startsWith("/api/500")) response.writeHead(500).end("broken")
  else response.end("hello")
}

ava.before(async () => {
  api = await upstream((request, response) => {
    let body = ""
    request.on("data", (data) => {
      body += data
    })
    request.on("end", () => {
      seen.push({ method: request.method, url: request.url, headers: request.headers, body })
      reply(response, request.url ?? "/")
    })
  })
  api.server.on("upgrade", (request, socket) => {
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n${request.url} `)
    socket.pipe(socket)
  })
  raw = createTcp((socket) => {
    socket.on("error", () => {})
    socket.on("data", (data) =>
      answer(
        data.toString("latin1"),
        (bytes) => socket.write(bytes),
        () => socket.end(),
      ),
    )
  }).listen(0, "127.0.0.1")
  await once(raw, "listening")
  gateway = await runGateway({
    upstreams: {
      api: { endpoints: [api.address] },
      raw: { endpoints: [`127.0.0.1:${(raw.address() as AddressInfo).port}`] },
      dead: { endpoints: ["127.0.0.1:1"] },
    },
    routes: [
      { when: { path: "/api/**" }, to: "api" },
      { when: { path: "/ws/**" }, to: "api" },
      { when: { path: "/raw/**" }, to: "raw", use: [{ timeout: { ms: 700 } }] },
      { when: { path: "/dead/**" }, to: "dead" },
      { when: { path: "/ping" }, to: { respond: { status: 200, body: "pong" } } },
      { when: { path: "/old" }, to: { redirect: { location: "/new", status: 301 } } },
      {
        when: { path: "/edit/{rest}" },
        to: "api",
        use: [{ setHeader: { "x-a": "b" } }, { removeHeader: ["x-c"] }, { rewrite: { path: "/api/{rest}" } }],
      },
      {
        when: { path: "/limited" },
        to: { respond: { status: 200, body: "ok" } },
        use: [{ rateLimit: { perSecond: 1, burst: 2, key: "clientIp" } }],
      },
      {
        when: { method: "POST", path: "/split" },
        to: [
          { upstream: "api", weight: 80 },
          { upstream: "dead", weight: 20 },
        ],
      },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  raw?.close()
  api?.server.close()
  api?.server.closeAllConnections()
})

const get = (path: string, fields = ""): string => `GET ${path} HTTP/1.1\r\nHost: gate\r\n${fields}\r\n`

test("answers several requests of one connection in order, pipelined too", async (t) => {
  const text = await exchange(gateway.port, get("/api/1") + get("/ping") + get("/api/chunked", "Connection: close\r\n"))
  t.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 200"])
  t.regex(text, /hello[\s\S]*pong[\s\S]*4\r\none \r\n3\r\ntwo\r\n0\r\nx-sum: 7\r\n\r\n$/i)
})

test("keeps the body's framing of HEAD, 204 and 304", async (t) => {
  const text = await exchange(
    gateway.port,
    `HEAD /api/1 HTTP/1.1\r\nHost: gate\r\n\r\n${get("/api/empty")}${get("/api/cached")}${get("/ping", "Connection: close\r\n")}`,
  )
  t.deepEqual(text.match(/HTTP\/1\.1 \d+/g), ["HTTP/1.1 200", "HTTP/1.1 204", "HTTP/1.1 304", "HTTP/1.1 200"])
  t.false(text.includes("hello"))
})

test("dechunks for HTTP/1.0 and closes, and keeps alive where it is asked to", async (t) => {
  const plain = await exchange(gateway.port, "GET /api/chunked HTTP/1.0\r\n\r\n")
  t.true(plain.endsWith("\r\n\r\none two"))
  t.notRegex(plain, /transfer-encoding/i)
  const kept = await exchange(
    gateway.port,
    "GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /ping HTTP/1.0\r\n\r\n",
  )
  t.is(kept.match(/pong/g)?.length, 2)
})

test("forwards bodies by length and in chunks, re-emitted", async (t) => {
  seen.length = 0
  const chunks = "5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
  await exchange(
    gateway.port,
    `POST /api/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n${chunks}`,
  )
  await exchange(gateway.port, "PUT /api/l HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc")
  t.deepEqual(
    seen.map(({ method, body }) => [method, body]),
    [
      ["POST", "hello world"],
      ["PUT", "abc"],
    ],
  )
})

test("streams large answers whole to slow readers", async (t) => {
  const socket = connect(gateway.port, "127.0.0.1")
  socket.write(get("/api/big", "Connection: close\r\n"))
  let bytes = 0
  let head = 0
  for await (const data of socket) {
    if (head === 0) head = (data as Buffer).indexOf("\r\n\r\n") + 4
    bytes += (data as Buffer).length
    if (bytes % 7 === 0) await new Promise((done) => setTimeout(done, 1))
  }
  t.is(bytes - head, 3_000_000)
})

test("takes large uploads with Expect: 100-continue", async (t) => {
  if (!has("curl", "curl")) return t.pass("curl is missing")
  seen.length = 0
  const big = "y".repeat(1_500_000)
  const { writeFileSync } = await import("node:fs")
  writeFileSync(`${gateway.folder}/big`, big)
  const args = [
    "-s",
    "-o",
    "/dev/null",
    "-w",
    "%{http_code}",
    "-H",
    "Expect: 100-continue",
    "--data-binary",
    `@${gateway.folder}/big`,
  ]
  const { out } = await run("curl", [...args, `http://127.0.0.1:${gateway.port}/api/up`])
  t.is(out, "200")
  t.is(seen.at(-1)?.body.length, big.length)
})

test("says who the client is, and lets no client say so", async (t) => {
  seen.length = 0
  const fields =
    "X-Forwarded-For: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-User-Id: root\r\nForwarded: for=6.6.6.6\r\nConnection: close, x-secret\r\nX-Secret: 1\r\nX-Keep: 1\r\n"
  await exchange(gateway.port, get("/api/who", fields))
  const headers: Record<string, unknown> = seen.at(-1)?.headers ?? {}
  t.is(headers["x-forwarded-for"], "127.0.0.1")
  t.is(headers["x-forwarded-proto"], "http")
  t.is(headers["x-forwarded-host"], "gate")
  t.is(headers.host, "gate")
  for (const name of ["x-real-ip", "x-user-id", "forwarded", "x-secret", "x_forwarded_for"])
    t.is(headers[name], undefined, name)
  t.is(headers["x-keep"], "1")
})

test("edits headers and paths as the route says", async (t) => {
  seen.length = 0
  await exchange(gateway.port, get("/edit/x?q=1", "X-C: 1\r\nX-A: old\r\nConnection: close\r\n"))
  const request = seen.at(-1)
  t.is(request?.url, "/api/x?q=1")
  t.is(request?.headers["x-a"], "b")
  t.is(request?.headers["x-c"], undefined)
})

test("answers by itself: 404, redirects, 429 with Retry-After", async (t) => {
  t.regex(await exchange(gateway.port, get("/nowhere", "Connection: close\r\n")), /^HTTP\/1\.1 404 /)
  t.regex(await exchange(gateway.port, get("/old", "Connection: close\r\n")), /^HTTP\/1\.1 301 [\s\S]*location: \/new/i)
  const limited = await exchange(gateway.port, get("/limited").repeat(4) + get("/limited", "Connection: close\r\n"))
  t.deepEqual(limited.match(/HTTP\/1\.1 \d+/g)?.slice(0, 3), ["HTTP/1.1 200", "HTTP/1.1 200", "HTTP/1.1 429"])
  t.regex(limited, /retry-after: \d/i)
})

test("a dead upstream is a 503 with its flag in the log", async (t) => {
  const text = await exchange(gateway.port, get("/dead/x", "Connection: close\r\n"))
  t.regex(text, /^HTTP\/1\.1 503 [\s\S]*retry-after/i)
  for (const end = Date.now() + 3_000; Date.now() < end && !/UF/.test(gateway.output()); ) await sleep(20)
  t.regex(gateway.output(), /GET \/dead\/x UF/)
})

test("splits by weight", async (t) => {
  const codes = await exchange(
    gateway.port,
    "POST /split HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".repeat(99) +
      "POST /split HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
  )
  const found = codes.match(/HTTP\/1\.1 \d+/g) ?? []
  t.is(found.length, 100)
  t.is(found.filter((line) => line.endsWith("503")).length, 20)
})

test("an upstream that breaks its protocol, stalls or dies is 502 or 504", async (t) => {
  const ask = () => exchange(gateway.port, get("/raw/x", "Connection: close\r\n"))
  answer = (_, write) => write("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")
  t.regex(await ask(), /^HTTP\/1\.1 502 /)
  answer = (_, write) => write("rubbish\r\n\r\n")
  t.regex(await ask(), /^HTTP\/1\.1 502 /)
  answer = (_, _write, end) => end()
  t.regex(await ask(), /^HTTP\/1\.1 502 /)
  answer = () => {}
  t.regex(await ask(), /^HTTP\/1\.1 504 /)
  answer = (_, write, end) => {
    write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    end()
  }
  t.true((await ask()).endsWith("half"))
})

test("a keep-alive race is tried again and nobody notices", async (t) => {
  let requests = 0
  answer = (_, write, end) => {
    requests += 1
    if (requests === 2) return end()
    write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
  }
  const socket = connect(gateway.port, "127.0.0.1")
  socket.write(get("/raw/1"))
  t.regex(await collect(socket, /ok$/), /200 OK/)
  // The same worker has the upstream's connection; it closes under the second request.
  socket.write(get("/raw/2", "Connection: close\r\n"))
  t.regex(await collect(socket), /200 OK[\s\S]*ok$/)
  t.is(requests, 3)
})

test("splices a WebSocket to its upstream, and nothing before its 101", async (t) => {
  const socket = connect(gateway.port, "127.0.0.1")
  socket.write(
    "GET /ws/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  )
  t.regex(await collect(socket, /\/ws\/x $/), /^HTTP\/1\.1 101 [\s\S]*upgrade: websocket/i)
  socket.write("\x81\x02hi")
  t.true((await collect(socket, /hi$/)).endsWith("\x81\x02hi"))
  socket.destroy()
})

const hostile: [string, string, RegExp][] = [
  [
    "length and encoding",
    "POST /api/ HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    /^HTTP\/1\.1 400 /,
  ],
  [
    "two lengths",
    "POST /api/ HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    /^HTTP\/1\.1 400 /,
  ],
  ["unknown coding", "POST /api/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", /^HTTP\/1\.1 501 /],
  [
    "bad chunk",
    "POST /api/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n0\r\n\r\n",
    /^HTTP\/1\.1 400 /,
  ],
  ["bare LF", "GET /api/ HTTP/1.1\nHost: a\n\n", /^HTTP\/1\.1 400 /],
  ["no host", "GET /api/ HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 400 /],
  ["encoded slash", "GET /api/a%2fb HTTP/1.1\r\nHost: a\r\n\r\n", /^HTTP\/1\.1 400 /],
  ["above the root", "GET /api/../../etc HTTP/1.1\r\nHost: a\r\n\r\n", /^HTTP\/1\.1 400 /],
  ["long header", `GET /api/ HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(9_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
  ["endless header", `GET /api/ HTTP/1.1\r\nHost: a\r\nX: ${"a".repeat(9_000)}`, /^HTTP\/1\.1 431 /],
  ["TLS", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", /^\x15\x03\x03\x00\x02\x02/],
  ["nothing known", "\x00\x01\x02\x03", /^$/],
  ["CONNECT", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", /^HTTP\/1\.1 405 [\s\S]*\r\nallow: GET, /],
  [
    "a topic's method",
    "PATCH /t/a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    /^HTTP\/1\.1 405 [\s\S]*\r\nallow: GET, HEAD, POST, PUT, DELETE\r\n/,
  ],
  [
    "a WebSocket of old",
    `GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade, close\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: ${btoa("0123456789abcdef")}\r\n\r\n`,
    /^HTTP\/1\.1 426 [\s\S]*\r\nupgrade: websocket\r\n[\s\S]*sec-websocket-version: 13\r\n/,
  ],
  ["version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", /^HTTP\/1\.1 505 /],
]

for (const [name, bytes, expected] of hostile) {
  test(`refuses ${name} in its own language and closes`, async (t) => {
    t.regex(await exchange(gateway.port, Buffer.from(bytes, "latin1")), expected)
  })
}

test("a hostile page may not use the gateway", async (t) => {
  const fields = "Origin: http://evil.example\r\nContent-Length: 1\r\nConnection: close\r\n"
  t.regex(await exchange(gateway.port, `POST /t/a HTTP/1.1\r\nHost: 127.0.0.1\r\n${fields}\r\nx`), /^HTTP\/1\.1 403 /)
})
