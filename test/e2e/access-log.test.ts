/** The access log and what upstreams are told of a request: by raw requests, read back from file and origin. */
import { readFileSync, renameSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { type Origin, startOrigin } from "../defence/origin.ts"
import { exchange, type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let origin: Origin

const config = (log: object, more: object = {}): object => ({
  workers: 1,
  log,
  upstreams: { api: { endpoints: [`127.0.0.1:${origin.port}`] } },
  routes: [
    { name: "own", when: { path: "/own" }, to: { respond: { body: "hello" } } },
    { name: "api", when: { path: "/**" }, to: "api" },
  ],
  ...more,
})

ava.before(async () => {
  origin = await startOrigin()
  gateway = await runGateway(config({ access: { format: "json", file: "access.log" } }))
})

ava.after.always(async () => {
  await gateway?.stop()
  origin?.stop()
})

const get = (path: string, lines = "", port = gateway.port): Promise<string> =>
  exchange(port, `GET ${path} HTTP/1.1\r\nHost: a\r\n${lines}Connection: close\r\n\r\n`)

async function linesOf(file: string, least: number): Promise<string[]> {
  for (const end = Date.now() + 5_000; Date.now() < end; await sleep(50)) {
    try {
      const lines = readFileSync(file, "utf8").split("\n").filter(Boolean)
      if (lines.length >= least) return lines
    } catch {
      // Not there yet.
    }
  }
  return []
}

test("JSON: every request, answered here, there or not at all; hostile text stays text", async (t) => {
  await get("/own")
  await get("/x?secret=1", 'User-Agent: "\\\u00e2\u0080\u00ae\r\nX-Request-Id: req-1\r\n')
  await get("/a/../../b")
  const lines = await linesOf(join(gateway.folder, "access.log"), 3)
  const [own, api, refused] = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
  t.like(own, {
    client: "127.0.0.1",
    method: "GET",
    target: "/own",
    status: 200,
    bytes: 5,
    route: "own",
    protocol: "http1",
  })
  t.like(api, {
    route: "api",
    upstream: "api",
    endpoint: `127.0.0.1:${origin.port}`,
    status: 200,
    requestId: "req-1",
    retries: 0,
  })
  t.like(refused, { status: 400 })
  t.regex(String(own?.time), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  t.true(lines.every((line) => /^[ -~]+$/.test(line)))
})

test("a file that was moved away is opened anew", async (t) => {
  const file = join(gateway.folder, "access.log")
  renameSync(file, `${file}.1`)
  await sleep(1_300)
  await get("/own?after")
  const lines = await linesOf(file, 1)
  t.regex(lines.join("\n"), /own\?after/)
})

test("Combined on standard output, one request in so many", async (t) => {
  const other = await runGateway(config({ access: { format: "combined", sampleEvery: 2 } }))
  t.teardown(() => other.stop())
  for (const n of [1, 2, 3, 4]) await get(`/own?n=${n}`, "Referer: http://r/\r\nUser-Agent: me\r\n", other.port)
  await sleep(400)
  const lines = other
    .output()
    .match(
      /^127\.0\.0\.1 - - \[\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000\] "GET \/own\?n=\d HTTP\/1\.1" 200 5 "http:\/\/r\/" "me"$/gm,
    )
  t.is(lines?.length, 2, other.output())
})

test("the upstream is told the way: Via always, a request id kept or begun, a trace kept", async (t) => {
  origin.taken()
  const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
  await get("/x", `Via: 1.1 other\r\nX-Request-Id: mine\r\ntraceparent: ${trace}\r\n`)
  const kept = origin.taken()
  t.regex(kept, /Via: 1\.1 other\r\n[\s\S]*Via: 1\.1 tidegate\r\n/)
  t.is(kept.match(/x-request-id: /gi)?.length, 1)
  t.regex(kept, /X-Request-Id: mine\r\n/)
  t.regex(kept, new RegExp(`traceparent: ${trace}\r\n`))
  t.notRegex(kept, /^Forwarded:/m)
  await get("/x")
  const begun = origin.taken()
  t.regex(begun, /X-Request-Id: [0-9a-f]{32}\r\n/)
  t.notRegex(begun, /traceparent/)
})

test("trusted proxies: what they say is continued, and their client is the one that counts", async (t) => {
  const listeners = [{ address: "tcp://127.0.0.1:0", trustedProxies: ["127.0.0.0/8", "10.0.0.0/8"] }]
  const forward = { forwarded: true, traceparent: true }
  const routes = [
    {
      when: { path: "/limited" },
      to: { respond: { body: "fine" } },
      use: [{ rateLimit: { perSecond: 0.01, burst: 1 } }],
    },
    { when: { path: "/**" }, to: "api" },
  ]
  const trusting = await runGateway(config({ access: { file: "access.log" } }, { listeners, forward, routes }))
  t.teardown(() => trusting.stop())
  origin.taken()
  const said =
    "X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nX-Forwarded-For: 10.1.1.1\r\nForwarded: for=203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
  await get("/x", said, trusting.port)
  const seen = origin.taken()
  t.regex(seen, /X-Forwarded-For: 6\.6\.6\.6, 203\.0\.113\.9, 10\.1\.1\.1, 127\.0\.0\.1\r\n/)
  t.regex(seen, /Forwarded: for=203\.0\.113\.9, for=127\.0\.0\.1;proto=http;host="a"\r\n/)
  t.regex(seen, /X-Forwarded-Proto: https\r\n/)
  t.regex(seen, /traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-01\r\n/)
  const [line] = await linesOf(join(trusting.folder, "access.log"), 1)
  t.is(JSON.parse(line ?? "{}").client, "203.0.113.9")
  const from = (address: string): Promise<string> => get("/limited", `X-Forwarded-For: ${address}\r\n`, trusting.port)
  t.regex(await from("203.0.113.1"), /^HTTP\/1.1 200/)
  t.regex(await from("203.0.113.1"), /^HTTP\/1.1 429/)
  t.regex(await from("203.0.113.2"), /^HTTP\/1.1 200/)
})
