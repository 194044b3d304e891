/** Limits, timeouts and retries towards upstreams, with origins that misbehave on raw sockets. */
import { once } from "node:events"
import { type AddressInfo, createServer, type Server, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava, { type ExecutionContext } from "ava"
import { exchange, type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let server: Server
/** What a connection does with the requests it reads; `count` is their number on it. */
let behave: (socket: Socket, data: string, count: number) => void = () => {}
const open = new Set<Socket>()

ava.before(async () => {
  server = createServer((socket) => {
    open.add(socket)
    let count = 0
    socket.on("error", () => {})
    socket.on("close", () => open.delete(socket))
    socket.on("data", (data) => behave(socket, data.toString(), ++count))
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  const endpoints = [`127.0.0.1:${(server.address() as AddressInfo).port}`]
  const retry = { attempts: 3, on: ["5xx"], baseMs: 1, maxMs: 2 }
  gateway = await runGateway({
    workers: 2,
    upstreams: {
      one: { endpoints, maxConnections: 1, maxPending: 2 },
      few: { endpoints, maxRequests: 1 },
      line: { endpoints, maxConnections: 2, maxRequests: 2, maxPending: 3 },
      plain: { endpoints },
      kept: { endpoints },
    },
    routes: [
      { when: { path: "/one" }, to: "one" },
      { when: { path: "/few" }, to: "few" },
      { when: { path: "/line" }, to: "line" },
      { when: { path: "/stall" }, to: "plain", use: [{ timeout: { ms: 5_000, idleMs: 300 } }] },
      { when: { path: "/total" }, to: "plain", use: [{ timeout: { ms: 5_000, totalMs: 700 } }] },
      {
        when: { path: "/try" },
        to: "plain",
        use: [{ timeout: { ms: 5_000, perTryMs: 200 } }, { retry: { attempts: 2, on: ["timeout"] } }],
      },
      { when: { path: "/retry" }, to: "plain", use: [{ retry }] },
      {
        when: { path: "/broke" },
        to: "plain",
        use: [{ retry: { ...retry, budgetPercent: 0, budgetMinPerSecond: 0 } }],
      },
      { when: { path: "/kept" }, to: "kept" },
      { when: { path: "/**" }, to: "plain" },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  for (const socket of open) socket.destroy()
  server?.close()
})

const ok = (socket: Socket, more = ""): void =>
  void socket.write(`HTTP/1.1 200 OK\r\n${more}Content-Length: 2\r\n\r\nok`)
const get = (path: string, until = /ok$|\n$/): Promise<string> =>
  exchange(gateway.port, `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`, until)
const metric = async (line: RegExp): Promise<number> =>
  Number(line.exec(await (await fetch(`${gateway.admin}/metrics`)).text())?.[1] ?? 0)
const cutAfter = async (t: ExecutionContext, path: string, least: number): Promise<void> => {
  const started = Date.now()
  t.notRegex(await get(path, /never/), /<timeout>/)
  const took = Date.now() - started
  t.true(took >= least && took < 3_000, `${took} ms`)
}

test("maxConnections: who finds none free waits in line, whatever its worker", async (t) => {
  let most = 0
  behave = (socket) => {
    most = Math.max(most, open.size)
    setTimeout(ok, 100, socket)
  }
  const answers = await Promise.all([get("/one"), get("/one"), get("/one")])
  t.deepEqual(
    answers.map((answer) => answer.slice(9, 12)),
    ["200", "200", "200"],
  )
  t.is(most, 1)
})

test("maxPending: beyond the line it is 503 with its kind, counted", async (t) => {
  behave = (socket) => void setTimeout(ok, 500, socket)
  const answers = await Promise.all(Array.from({ length: 8 }, () => get("/one")))
  const refused = answers.filter((answer) => answer.startsWith("HTTP/1.1 503"))
  t.true(refused.length >= 4, answers.join("\n"))
  t.regex(refused[0] ?? "", /proxy-status: tidegate; error=connection_limit_reached; details="UO"\r\n/)
  t.regex(refused[0] ?? "", /retry-after: \d+\r\n/)
  t.true((await metric(/tidegate_upstream_overflow_total\{[^}]*pending[^}]*\} (\d+)/)) >= 4)
})

test("maxRequests: one at a time, the next is 503", async (t) => {
  behave = (socket) => void setTimeout(ok, 300, socket)
  const answers = await Promise.all([get("/few"), get("/few")])
  t.deepEqual(answers.map((answer) => answer.slice(9, 12)).sort(), ["200", "503"])
  t.true((await metric(/tidegate_upstream_overflow_total\{[^}]*requests[^}]*\} (\d+)/)) >= 1)
})

test("maxRequests is no bound for those that wait in line for a connection", async (t) => {
  behave = (socket) => void setTimeout(ok, 200, socket)
  const several = async (count: number): Promise<string[]> => {
    const answers = await Promise.all(Array.from({ length: count }, () => get("/line")))
    return answers.map((answer) => answer.slice(9, 12)).sort()
  }
  t.deepEqual(await several(5), Array(5).fill("200"))
  t.true((await several(9)).filter((status) => status === "503").length >= 3)
})

test("idleMs: an answer that stops coming is cut; totalMs: one that never ends too", async (t) => {
  behave = (socket) => void socket.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
  await cutAfter(t, "/stall", 250)
  behave = (socket) => {
    socket.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write("1\r\nx\r\n")), 50)
  }
  await cutAfter(t, "/total", 600)
})

test("perTryMs: a try that takes too long is made again within the route's time", async (t) => {
  let tries = 0
  behave = (socket) => {
    tries += 1
    if (tries === 2) ok(socket)
  }
  t.regex(await get("/try"), /200 OK/)
  t.is(tries, 2)
})

test("retries: by the route's own budget", async (t) => {
  let tries = 0
  behave = (socket) => {
    tries += 1
    socket.write(`HTTP/1.1 ${tries < 3 ? 500 : 200} X\r\nContent-Length: 2\r\n\r\nok`)
  }
  t.regex(await get("/retry"), /^HTTP\/1.1 200/)
  t.is(tries, 3)
  tries = 0
  t.regex(await get("/broke"), /^HTTP\/1.1 500/)
  t.is(tries, 1)
  t.true(
    (await metric(/tidegate_upstream_retries_total\{[^}]*outcome="budget"[^}]*upstream="plain"[^}]*\} (\d+)/)) >= 1,
  )
})

test("the keep-alive race: what may be repeated is, once, on a new connection; the rest is not", async (t) => {
  behave = ok
  const seen: string[] = []
  const race = async (request: string): Promise<string> => {
    const socket = exchange(gateway.port, `GET /warm HTTP/1.1\r\nHost: a\r\n\r\n${request}`, /ok[\s\S]*(ok|\n)$/)
    behave = (origin, data, count) => {
      seen.push(data.slice(0, 4))
      if (count > 1) origin.destroy()
      else ok(origin)
    }
    return socket
  }
  t.is((await race("GET /x HTTP/1.1\r\nHost: a\r\n\r\n")).match(/200 OK/g)?.length, 2)
  const before = seen.filter((method) => method === "POST").length
  const post = await race("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")
  if (/502/.test(post)) t.is(seen.filter((method) => method === "POST").length - before, 1, "a POST was sent twice")
  else t.pass("its connection was new")
})

test("a connection is kept no longer than the upstream says", async (t) => {
  behave = (socket) => ok(socket, "Keep-Alive: timeout=1\r\nConnection: keep-alive\r\n")
  // An upstream of its own: workers that are not asked keep what other tests left them.
  for (const _ of [1, 2, 3]) await get("/kept")
  await sleep(250)
  const idle = (): Promise<number> => metric(/tidegate_upstream_connections\{state="idle",upstream="kept"\} (\d+)/)
  for (const end = Date.now() + 5_000; Date.now() < end && (await idle()) > 0; ) await sleep(50)
  t.is(await idle(), 0)
})
