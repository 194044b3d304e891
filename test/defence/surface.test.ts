/** Lines 24, 31 to 33, 35 and 36: floods, regular expressions, the admin API, what is written of clients. */
import { once } from "node:events"
import { request } from "node:http"
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { gzipSync } from "node:zlib"
import ava from "ava"
import { exchange, type Running, runGateway } from "../e2e/run-gateway.ts"
import { type Origin, startOrigin } from "./origin.ts"

const test = ava.serial
let gateway: Running
let origin: Origin

ava.before(async () => {
  origin = await startOrigin()
  gateway = await runGateway({
    workers: 1,
    log: { sampleEvery: 1 },
    limits: { maxConnectionsPerSource: 30 },
    upstreams: { origin: { endpoints: [`127.0.0.1:${origin.port}`] } },
    auth: { users: { alice: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA" } },
    routes: [
      { when: { path: { regex: "/r/(a+)+" } }, to: { respond: { body: "regex" } } },
      { when: { path: "/**" }, to: "origin" },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  origin?.stop()
})

/** Status and body of a call of the admin API with any headers. */
function admin(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body = "",
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request(`${gateway.admin}${path}`, { method, headers }, (answer) => {
      let text = ""
      answer.on("data", (data) => (text += data))
      answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text }))
    })
    call.on("error", reject)
    call.end(body)
  })
}

const metrics = async (): Promise<string> => (await admin("GET", "/metrics")).text

test("24: a compressed body is passed on as it came, whatever it would become", async (t) => {
  const bomb = gzipSync(Buffer.alloc(10_000_000))
  origin.taken()
  const head = `POST /x HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: ${bomb.length}\r\n\r\n`
  await exchange(gateway.port, Buffer.concat([Buffer.from(head), bomb]), /\r\n\r\n$/)
  t.true(origin.taken().endsWith(bomb.toString("latin1")))
})

test("31: a regular expression that explodes elsewhere takes no time here", async (t) => {
  const started = Date.now()
  await exchange(gateway.port, `GET /r/${"a".repeat(4_000)}! HTTP/1.1\r\nHost: a\r\n\r\n`, /\r\n\r\n$/)
  t.true(Date.now() - started < 1_000)
})

test("31: one that compiles to more than its cap breaks its route alone, and says so", async (t) => {
  const config = (regex: string): object => ({
    listeners: [{ address: "tcp://127.0.0.1:0" }],
    routes: [
      { when: { path: { regex } }, to: { respond: { body: "regex" } } },
      { when: { path: "/ok" }, to: { respond: { body: "fine" } } },
    ],
  })
  const large = await runGateway(config("/(a{1000}){1000}"))
  t.teardown(() => large.stop())
  t.regex(await exchange(large.port, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n", /fine/), /fine/)
  t.regex(await (await fetch(`${large.admin}/v1/routes`)).text(), /problem":"[^"]+/)
  await t.throwsAsync(runGateway(config("(?=a)b")), { message: /look-around/ })
})

test("32: thousands of names that a weak hash would put together cost nothing to look up", async (t) => {
  // All of these collide under 31-polynomial hashes; the gateway's hashes are seeded.
  const names = Array.from({ length: 2 ** 12 }, (_, bits) =>
    Array.from({ length: 12 }, (_, at) => ((bits >> at) & 1 ? "Aa" : "BB")).join(""),
  )
  const bare = await runGateway({ workers: 1, routes: [] })
  t.teardown(() => bare.stop())
  const started = Date.now()
  const requests = names.map((name) => `PUT /t/${name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx`)
  const last = "GET /t/none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
  const answers = await exchange(bare.port, requests.join("") + last)
  t.is(answers.match(/^HTTP\/1.1 20\d /gm)?.length, names.length)
  t.true(Date.now() - started < 4_000)
})

test("33: one source gets no more connections than its share; the refusals are counted, the rest lives", async (t) => {
  const held = connect(gateway.port, "127.0.0.1")
  await once(held, "connect")
  const flood: Socket[] = []
  for (let count = 0; count < 200; count++) {
    const socket = connect(gateway.port, "127.0.0.1")
    socket.on("error", () => {})
    socket.resume()
    flood.push(socket)
  }
  await sleep(500)
  const open = flood.filter((socket) => !socket.destroyed && socket.readyState === "open").length
  t.true(open <= 30, `${open} are open`)
  const series = (await metrics()).matchAll(/tidegate_connections_total\{[^}]*outcome="refused-source"[^}]*\} (\d+)/g)
  const refused = [...series].reduce((sum, [, count]) => sum + Number(count), 0)
  t.true(refused >= 160, String(refused))
  held.write("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")
  const [answer] = (await once(held, "data")) as [Buffer]
  t.regex(answer.toString(), /200 OK/)
  for (const socket of [held, ...flood]) socket.destroy()
  await sleep(200)
  t.regex(await exchange(gateway.port, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n", /\r\n\r\n$/), /200 OK/)
})

test("35: the admin API knows its own names only, and no foreign page", async (t) => {
  t.is((await admin("GET", "/v1/routes")).status, 200)
  for (const host of ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7001"]) {
    t.is((await admin("GET", "/v1/routes", { host })).status, 421, host)
  }
  for (const origin of ["http://evil.example", "null", "https://127.0.0.1.evil.example"]) {
    t.is((await admin("GET", "/v1/routes", { origin })).status, 403, origin)
    t.is((await admin("PUT", "/v1/config", { origin, "content-type": "application/json" }, "{}")).status, 403, origin)
  }
  const { status, text } = await admin("OPTIONS", "/v1/routes", {
    origin: "http://evil.example",
    "access-control-request-method": "PUT",
  })
  t.true(status >= 400, text)
})

test("35: no GET changes anything, no secret is shown, no endless body is read", async (t) => {
  const version = /tidegate_config_version (\d+)/.exec(await metrics())?.[1]
  for (const path of ["/v1/config/rollback", "/v1/services/a/instances/b", "/v1/connections/1", "/v1/config?x=1"])
    await admin("GET", path)
  t.is(/tidegate_config_version (\d+)/.exec(await metrics())?.[1], version)
  const config = await admin("GET", "/v1/config")
  t.is(config.status, 200)
  t.notRegex(config.text, /argon2id/)
  const large = await admin(
    "PUT",
    "/v1/config",
    { "content-type": "application/json" },
    `"${"x".repeat(20_000_000)}"`,
  ).catch(() => ({ status: 413 }))
  t.is(large.status, 413)
})

test("35: topics and WebSockets are closed to pages of other origins and to rebound names", async (t) => {
  const call = (host: string, extra: string): Promise<string> =>
    exchange(gateway.port, `GET /t/a HTTP/1.1\r\nHost: ${host}\r\n${extra}Connection: close\r\n\r\n`)
  const bare = await runGateway({ workers: 1, routes: [] })
  t.teardown(() => bare.stop())
  const topic = (host: string, extra: string): Promise<string> =>
    exchange(bare.port, `PUT /t/a HTTP/1.1\r\nHost: ${host}\r\n${extra}Content-Length: 1\r\nConnection: close\r\n\r\nx`)
  t.regex(await topic(`localhost:${bare.port}`, ""), /^HTTP\/1.1 20\d /)
  t.regex(await topic(`localhost:${bare.port}`, "Origin: http://evil.example\r\n"), /^HTTP\/1.1 403 /)
  t.regex(await topic("evil.example", ""), /^HTTP\/1.1 403 /)
  t.truthy(await call("a", ""))
})

test("36: what clients write cannot write the log or grow the metrics", async (t) => {
  const nasty = ["/a%1b[31mred", "/a%0aINFO%20forged", "/\u00e2\u0080\u00ae".replaceAll(/[^/]/g, "%e2")]
  for (const path of nasty) await exchange(gateway.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, /\r\n\r\n$/)
  const before = (await metrics()).split("\n").length
  for (let count = 0; count < 50; count++) {
    await exchange(
      gateway.port,
      `M${"ABCDEFGHIJ"[count % 10]}X /p${count} HTTP/1.1\r\nHost: h${count}\r\n\r\n`,
      /\r\n\r\n$/,
    )
  }
  t.true((await metrics()).split("\n").length - before < 30)
  await sleep(300)
  t.notRegex(gateway.output(), /[\u0000-\u0009\u000b-\u001f\u007f\u0080-\u009f\u202a-\u202e\u2066-\u2069]/)
  t.notRegex(gateway.output(), /^INFO forged/m)
})
