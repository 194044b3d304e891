/** How services are reached: whose connection it is (PROXY protocol), how many requests of a route, what HTTP/2 services say first and how long they are kept; and what listeners count. */
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { connect as connectH2, createServer as createH2 } from "node:http2"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { exchange, has, type Running, runGateway, start, upstream } from "./run-gateway.ts"

const test = ava.serial
const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`

/** Keeps what each connection began with and answers what comes behind the header. */
const openings: Buffer[] = []
const proxied = createServer((socket) => {
  socket.on("error", () => {})
  let bytes = Buffer.alloc(0)
  socket.on("data", (data) => {
    bytes = Buffer.concat([bytes, data])
    if (!bytes.includes("\r\n\r\n", 20)) return
    openings.push(bytes)
    bytes = Buffer.alloc(0)
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
  })
})

/** Waits with its answers until the test lets them go. */
const held: (() => void)[] = []
let slow: Awaited<ReturnType<typeof upstream>>

/** Says 103 first; tells its connections. */
let h2Connections: Socket[] = []
const h2 = createH2()
h2.on("connection", (socket: Socket) => {
  h2Connections.push(socket)
  socket.once("close", () => {
    h2Connections = h2Connections.filter((known) => known !== socket)
  })
})
h2.on("stream", (stream) => {
  stream.additionalHeaders({ ":status": 103, link: "</a.css>; rel=preload" })
  setTimeout(() => {
    stream.respond({ ":status": 200 })
    stream.end("done")
  }, 50)
})

let gateway: Running

ava.before(async () => {
  proxied.listen(0, "127.0.0.1")
  h2.listen(0, "127.0.0.1")
  await Promise.all([once(proxied, "listening"), once(h2, "listening")])
  slow = await upstream((_, response) => held.push(() => response.end("slow")))
  const endpoints = [`127.0.0.1:${portOf(proxied)}`]
  gateway = await runGateway({
    workers: 1,
    upstreams: {
      v1: { endpoints, proxyProtocol: "v1" },
      v2: { endpoints, proxyProtocol: "v2" },
      slow: { endpoints: [slow.address] },
      h2: { endpoints: [`127.0.0.1:${portOf(h2)}`], protocol: "h2c", idleTimeoutMs: 500 },
    },
    routes: [
      { when: { path: "/v1" }, to: "v1" },
      { when: { path: "/v2" }, to: "v2" },
      { when: { path: "/narrow" }, to: "slow", use: [{ bulkhead: { max: 2 } }] },
      { when: { path: "/wide" }, to: "slow" },
      { when: { path: "/h2" }, to: "h2" },
    ],
  })
})
ava.after.always(async () => {
  await gateway?.stop()
  for (const release of held) release()
  slow?.server.close()
  proxied.close()
  h2.close()
})

test("a service hears whose connection it is, by either version, and each client has its own", async (t) => {
  openings.length = 0
  const client = connect(gateway.port, "127.0.0.1")
  await once(client, "connect")
  for (const path of ["/v1", "/v1"]) {
    client.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`)
    await once(client, "data")
  }
  const line = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.localPort} ${gateway.port}\r\nGET /v1 `
  t.deepEqual(
    openings.map((bytes) => bytes.subarray(0, line.length).toString()),
    [line, line],
  )
  openings.length = 0
  client.write("GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n")
  await once(client, "data")
  const [bytes = Buffer.alloc(0)] = openings
  t.is(bytes.subarray(0, 12).toString("latin1"), "\r\n\r\n\0\r\nQUIT\n")
  t.deepEqual([...bytes.subarray(12, 24)], [0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1])
  t.deepEqual([bytes.readUInt16BE(24), bytes.readUInt16BE(26)], [client.localPort, gateway.port])
  client.destroy()
})

test("the same for a stream of HTTP/2", async (t) => {
  openings.length = 0
  const session = connectH2(`http://127.0.0.1:${gateway.port}`)
  const stream = session.request({ ":path": "/v1" })
  stream.resume()
  await once(stream, "end")
  const line = `PROXY TCP4 127.0.0.1 127.0.0.1 ${session.socket.localPort} ${gateway.port}\r\n`
  t.is(openings[0]?.subarray(0, line.length).toString(), line)
  session.close()
})

if (has("haproxy", "haproxy")) {
  for (const version of ["v1", "v2"]) {
    test(`HAProxy takes the header of ${version}`, async (t) => {
      const file = join(gateway.folder, `${version}.cfg`)
      const free = createServer().listen(0, "127.0.0.1")
      await once(free, "listening")
      const port = portOf(free)
      free.close()
      const front = `frontend in\n  bind 127.0.0.1:${port} accept-proxy\n`
      const answer = '  http-request return status 200 content-type text/plain lf-string "%[src]:%[src_port]"\n'
      writeFileSync(file, `defaults\n  mode http\n  timeout client 5s\n${front}${answer}`)
      const peer = start("haproxy", ["-db", "-f", file])
      const own = await runGateway({
        upstreams: { it: { endpoints: [`127.0.0.1:${port}`], proxyProtocol: version } },
        routes: [{ when: { path: "/**" }, to: "it", use: [{ retry: { attempts: 5, on: ["connect-failure"] } }] }],
      })
      t.teardown(async () => {
        peer.child.kill()
        await own.stop()
      })
      let text = ""
      for (const end = Date.now() + 5_000; !text.includes("200 OK") && Date.now() < end; await sleep(50)) {
        const client = connect(own.port, "127.0.0.1")
        await once(client, "connect")
        const from = client.localPort
        client.write(get("/"))
        text = ""
        for await (const data of client) text += data
        if (text.includes("200 OK")) t.true(text.endsWith(`127.0.0.1:${from}`), text)
      }
      t.regex(text, /200 OK/)
    })
  }
}

test("a route takes no more of its upstream than its bulkhead; others have the rest", async (t) => {
  const narrow = [exchange(gateway.port, get("/narrow")), exchange(gateway.port, get("/narrow"))]
  for (const end = Date.now() + 3_000; held.length < 2 && Date.now() < end; ) await sleep(10)
  const refused = await exchange(gateway.port, get("/narrow"))
  t.regex(refused, /^HTTP\/1\.1 503 [\s\S]*retry-after: 1[\s\S]*details="UO"/)
  const wide = exchange(gateway.port, get("/wide"))
  for (const end = Date.now() + 3_000; held.length < 3 && Date.now() < end; ) await sleep(10)
  for (const release of held.splice(0)) release()
  for (const answer of await Promise.all([...narrow, wide])) t.regex(answer, /200 OK[\s\S]*slow$/)
  const again = exchange(gateway.port, get("/narrow"))
  for (const end = Date.now() + 3_000; held.length < 1 && Date.now() < end; ) await sleep(10)
  for (const release of held.splice(0)) release()
  t.regex(await again, /200 OK/)
  const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
  t.regex(metrics, /tidegate_dropped_total\{[^}]*reason="bulkhead"\} 1/)
})

test("an interim answer of an HTTP/2 service reaches clients of both versions before the answer", async (t) => {
  const text = await exchange(gateway.port, get("/h2"))
  t.regex(text, /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a\.css>; rel=preload\r\n\r\nHTTP\/1\.1 200 [\s\S]*done/)
  const session = connectH2(`http://127.0.0.1:${gateway.port}`)
  const stream = session.request({ ":path": "/h2" })
  const hints: unknown[] = []
  stream.on("headers", (headers) => hints.push(headers[":status"]))
  stream.resume()
  await once(stream, "end")
  t.deepEqual(hints, [103])
  session.close()
})

test("a connection to an HTTP/2 service that nobody uses is closed after its time", async (t) => {
  t.true(h2Connections.length > 0)
  for (const end = Date.now() + 4_000; h2Connections.length > 0 && Date.now() < end; ) await sleep(50)
  t.is(h2Connections.length, 0)
  t.regex(await exchange(gateway.port, get("/h2")), /200 [\s\S]*done/)
})

test("connections are counted by listener, and one address may open so many in a second", async (t) => {
  const paced = await runGateway({
    workers: 1,
    listeners: [{ address: "tcp://127.0.0.1:0" }, { address: "tcp://[::1]:0" }],
    limits: { maxConnectsPerSourcePerS: 5 },
    routes: [{ when: { path: "/" }, to: { respond: { body: "hi" } } }],
  })
  t.teardown(paced.stop)
  const answers = await Promise.all(Array.from({ length: 12 }, () => exchange(paced.port, get("/"))))
  const taken = answers.filter((answer) => answer.includes("200 OK")).length
  t.true(taken >= 5 && taken <= 7, `${taken} were taken`)
  t.true(answers.every((answer) => answer === "" || answer.includes("200 OK")))
  const metrics = await (await fetch(`${paced.admin}/metrics`)).text()
  const refused = /listener="tcp:\/\/127\.0\.0\.1:0",outcome="refused-pace",protocol="none"\} (\d+)/.exec(metrics)
  t.is(Number(refused?.[1]), 12 - taken)
  t.regex(metrics, /tidegate_connections_total\{[^}]*tcp:\/\/127\.0\.0\.1:0[^}]*\} \d+/)
  t.notRegex(metrics, /listener="all"/)
  await sleep(1_100)
  t.regex(await exchange(paced.port, get("/")), /200 OK/)
})
