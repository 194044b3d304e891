/** Corners of HTTP/1.1 towards clients and upstreams: half-closed clients, upgrades, expectations, odd status lines. */
import { once } from "node:events"
import { connect as connectHttp2, createServer as createHttp2 } from "node:http2"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import test, { type ExecutionContext } from "ava"
import { request } from "undici"
import { collect, exchange, type Running, runGateway } from "./run-gateway.ts"

/** One gateway at a time: each test has its own. */
const ava = test.serial

/** An upstream whose answer to each head is what a test says. */
async function upstream(t: ExecutionContext, answer: (head: string, socket: Socket) => string): Promise<string> {
  const server = createServer((socket) => {
    let text = ""
    socket.on("error", () => undefined)
    socket.on("data", (data) => {
      text += data.toString("latin1")
      for (let end = text.indexOf("\r\n\r\n"); end >= 0; end = text.indexOf("\r\n\r\n")) {
        const head = text.slice(0, end)
        text = text.slice(end + 4)
        socket.write(answer(head, socket))
      }
    })
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function before(t: ExecutionContext, endpoint: string, protocol = "http1", path = "/**"): Promise<Running> {
  const gateway = await runGateway({
    workers: 1,
    upstreams: { to: { endpoints: [endpoint], protocol, outlier: false, breaker: { failures: 0 } } },
    routes: [
      { when: { path: "/own" }, to: { respond: { body: "own" } } },
      {
        when: { path: "/key" },
        to: { respond: { body: "known" } },
        use: [{ apiKey: { query: "key", keys: { alice: "a+b/c=%" } } }],
      },
      { when: { path }, to: "to" },
    ],
  })
  t.teardown(() => gateway.stop())
  return gateway
}

const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`

ava("a client that sends no more gets the answer to each request that it sent", async (t) => {
  let turn = 0
  const gateway = await before(t, await upstream(t, () => `${ok}${turn++}!`))
  for (const paths of [
    ["/0", "/own"],
    ["/own", "/0"],
    ["/0", "/1", "/own", "/2"],
  ]) {
    turn = 0
    const socket = connect({ port: gateway.port, host: "127.0.0.1", allowHalfOpen: true })
    socket.end(paths.map(get).join(""))
    const answer = await collect(socket)
    const bodies = [...answer.matchAll(/\r\n\r\n(own|\d!)/g)].map(([, body]) => body)
    const expected = paths.map((path) => (path === "/own" ? "own" : `${path.slice(1)}!`))
    t.deepEqual(bodies, expected)
  }
})

const UPGRADE =
  "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

ava("an upstream switches to the protocol that was asked for, and to no other", async (t) => {
  const fields: Record<string, string> = { other: "Upgrade: h2c\r\n", none: "", asked: "Upgrade: WebSocket\r\n" }
  let kind = ""
  const gateway = await before(
    t,
    await upstream(t, () => `HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n${fields[kind] ?? ""}\r\n`),
  )
  for (kind of ["other", "none"]) {
    const answer = await exchange(gateway.port, UPGRADE, /\r\n\r\n.*\n$/s)
    t.regex(answer, /^HTTP\/1\.1 502 .*http_protocol_error/s, kind)
  }
  kind = "asked"
  t.regex(await exchange(gateway.port, UPGRADE, /\r\n\r\n/), /^HTTP\/1\.1 101 .*\r\nUpgrade: WebSocket\r\n/s)
})

ava("a status line without the space in front of its reason goes on with it", async (t) => {
  const gateway = await before(t, await upstream(t, () => "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok"))
  t.regex(
    await exchange(gateway.port, get("/x"), /ok$/),
    /^HTTP\/1\.1 200 \r\nContent-Length: 2\r\ndate: .*\r\n\r\nok$/,
  )
})

ava("an expectation goes on to an upstream of HTTP/2, whose word the client waits for", async (t) => {
  const seen: (string | undefined)[] = []
  const server = createHttp2((_, answer) => answer.end("not asked first"))
  server.on("checkContinue", (incoming, answer) => {
    seen.push(incoming.headers.expect)
    if (incoming.url === "/no") return void answer.writeHead(403).end("no")
    answer.writeContinue()
    incoming.resume().on("end", () => answer.end("taken"))
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => server.close())
  const gateway = await before(t, `127.0.0.1:${(server.address() as AddressInfo).port}`, "h2c")
  const head = (path: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`
  const socket = connect(gateway.port, "127.0.0.1")
  socket.write(head("/yes"))
  t.regex(await collect(socket, /100 Continue\r\n\r\n/), /^HTTP\/1\.1 100 Continue\r\n\r\n$/)
  socket.write("hello")
  t.regex(await collect(socket), /^HTTP\/1\.1 200 .*taken/s)
  t.regex(await exchange(gateway.port, head("/no")), /^HTTP\/1\.1 403 .*no/s)
  t.deepEqual(seen, ["100-continue", "100-continue"])
})

ava("a WebSocket is taken with the first subprotocol that is served, written as it was offered", async (t) => {
  const gateway = await before(t, "127.0.0.1:9", "http1", "/to")
  const offer = async (...lines: string[]): Promise<string> => {
    const fields = lines.map((line) => `Sec-WebSocket-Protocol: ${line}\r\n`).join("")
    const asked = UPGRADE.replace(/\r\n$/, `${fields}\r\n`)
    const answer = await exchange(gateway.port, asked, /\r\n\r\n/)
    return /sec-websocket-protocol: (.*)\r\n/.exec(answer)?.[1] ?? answer
  }
  t.is(await offer("mqtt"), "mqtt")
  t.is(await offer("MQTT"), "MQTT")
  t.is(await offer("what, Mqtt"), "Mqtt")
  t.is(await offer("coap, mqtt"), "coap")
  t.is(await offer("mqtt, coap"), "mqtt")
  t.is(await offer("what", "tidegate.v1.json, mqtt"), "tidegate.v1.json")
})

ava("an API key in a query is read with and without escapes", async (t) => {
  const gateway = await before(t, "127.0.0.1:9")
  const status = async (key: string): Promise<number> => {
    const answer = await request(`http://127.0.0.1:${gateway.port}/key?key=${key}`)
    await answer.body.dump()
    return answer.statusCode
  }
  t.is(await status(encodeURIComponent("a+b/c=%")), 200)
  t.is(await status("a+b/c=%25"), 200)
  for (const wrong of ["a%2Bb", "a%2", "a%+b", "", "%"]) t.is(await status(wrong), 401, wrong)
})

ava("OPTIONS takes as many hops as it may, and this one counts; TRACE takes none", async (t) => {
  const gateway = await before(
    t,
    await upstream(t, (head) => `HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`),
  )
  const ask = async (method: string, hops: string): Promise<string> =>
    exchange(gateway.port, `${method} /x HTTP/1.1\r\nHost: a\r\nMax-Forwards: ${hops}\r\nConnection: close\r\n\r\n`)
  t.regex(await ask("OPTIONS", "0"), /^HTTP\/1\.1 204 .*\r\nallow: GET, HEAD/s)
  t.regex(await ask("TRACE", "0"), /^HTTP\/1\.1 405 /)
  t.regex(await ask("OPTIONS", "10"), /^HTTP\/1\.1 200 .*\r\nmax-forwards: 9(\r\n|$)/is)
  t.regex(await ask("OPTIONS", "-1"), /^HTTP\/1\.1 200 .*\r\nmax-forwards: -1(\r\n|$)/is)
  t.regex(await ask("TRACE", "10"), /^HTTP\/1\.1 405 .*\r\nallow: GET, HEAD/s)
  t.regex(await ask("GET", "0"), /^HTTP\/1\.1 200 .*\r\nmax-forwards: 0(\r\n|$)/is)
})

ava("an answer that does not say when it came goes on with that, once, and a kept one with when it came", async (t) => {
  const own = "Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
  const answer = (head: string): string =>
    `HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n${head.startsWith("GET /own ") ? own : ""}Content-Length: 2\r\n\r\nok`
  const endpoint = await upstream(t, answer)
  const gateway = await runGateway({
    workers: 1,
    upstreams: { to: { endpoints: [endpoint] } },
    routes: [
      { when: { path: "/silent" }, to: "to", use: [{ removeResponseHeader: ["Date"] }] },
      { when: { path: "/kept" }, to: "to", use: [{ cache: {} }] },
      { when: { path: "/**" }, to: "to" },
    ],
  })
  t.teardown(() => gateway.stop())
  const dates = async (path: string): Promise<string[]> => {
    const text = await exchange(gateway.port, get(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"))
    return [...text.matchAll(/\r\ndate: (.*)/gi)].map(([, date]) => date ?? "")
  }
  t.deepEqual(await dates("/own"), ["Mon, 01 Jan 2024 00:00:00 GMT"])
  t.deepEqual(await dates("/silent"), [])
  const [now, ...others] = await dates("/x")
  t.true(Math.abs(Date.parse(now ?? "") - Date.now()) < 5_000 && others.length === 0)
  const kept = await dates("/kept")
  await sleep(1_100)
  t.deepEqual(await dates("/kept"), kept)
  t.is(kept.length, 1)
  const stream = await exchange(gateway.port, get("/t/a/%23"), /\r\n\r\n/)
  t.regex(stream, /^HTTP\/1\.1 200 .*\r\ndate: \w{3}, .* GMT\r\n/s, "an event stream says when it began")
})

ava("Via names the version that each request came by", async (t) => {
  const gateway = await before(
    t,
    await upstream(t, (head) => `HTTP/1.1 200 OK\r\nContent-Length: ${head.length}\r\n\r\n${head}`),
  )
  for (const version of ["1.0", "1.1"]) {
    const answer = await exchange(gateway.port, `GET /x HTTP/${version}\r\nHost: a\r\nConnection: close\r\n\r\n`)
    t.regex(answer, new RegExp(`\r\nVia: ${version} tidegate\r\n`))
  }
  const client = connectHttp2(`http://127.0.0.1:${gateway.port}`)
  t.teardown(() => client.close())
  let text = ""
  const stream = client.request({ ":path": "/x" }).setEncoding("utf8")
  for await (const part of stream) text += part
  t.regex(text, /\r\nVia: 2.0 tidegate\r\n/)
})
