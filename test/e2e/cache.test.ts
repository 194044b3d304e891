/** `cache`: answers of an upstream that are kept for their time, as clients and the upstream see it. */
import { setTimeout as sleep } from "node:timers/promises"
import { brotliDecompressSync } from "node:zlib"
import ava from "ava"
import { request } from "undici"
import { type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let origin: Awaited<ReturnType<typeof upstream>>
/** What the upstream saw, as `METHOD /path`, with what it was asked about. */
let seen: string[] = []
/** Answers by path; `n`: how often it was asked before. */
type Reply = {
  status?: number
  headers?: Record<string, string | string[]>
  body?: string
  ms?: number
  cut?: boolean
  dead?: boolean
}
const replies: Record<string, (n: number, headers: NodeJS.Dict<string | string[]>) => Reply> = {}

ava.before(async () => {
  origin = await upstream(async ({ method, url = "", headers }, response) => {
    const path = url.split("?")[0] ?? ""
    const n = seen.filter((line) => line.startsWith(`${method} ${path}`)).length
    const asked = headers["if-none-match"] ?? headers["if-modified-since"]
    seen.push(`${method} ${url}${asked === undefined ? "" : ` ${asked}`}`)
    const {
      status = 200,
      headers: fields = {},
      body = `answer ${n}`,
      ms = 0,
      cut = false,
      dead = false,
    } = replies[path]?.(n, headers) ?? {}
    if (ms > 0) await sleep(ms)
    if (dead) return void response.destroy()
    if (cut) {
      response.writeHead(status, { ...fields, "content-length": body.length + 10 }).write(body)
      setTimeout(() => response.destroy(), 20)
      return
    }
    response.writeHead(status, fields).end(status === 304 || method === "HEAD" ? undefined : body)
  })
  const use = [{ cache: {} }]
  gateway = await runGateway({
    listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect", trustedProxies: ["127.0.0.0/8"] }],
    upstreams: { api: { endpoints: [origin.address] }, gone: { endpoints: ["127.0.0.1:1"] } },
    limits: { cacheBytes: 200_000, cacheEntries: 50, cacheEntryBytes: 50_000 },
    routes: [
      { name: "said", when: { path: "/said/**" }, to: "api", use },
      { name: "ttl", when: { path: "/ttl/**" }, to: "api", use: [{ cache: { ttlMs: 60_000 } }] },
      {
        name: "stale",
        when: { path: "/stale/**" },
        to: "api",
        use: [{ cache: { staleWhileRevalidateMs: 60_000, staleIfErrorMs: 60_000 } }],
      },
      { name: "error", when: { path: "/error/**" }, to: "api", use: [{ cache: { staleIfErrorMs: 60_000 } }] },
      {
        name: "user",
        when: { path: "/user/**" },
        to: "api",
        use: [{ apiKey: { keys: { alice: "a", bob: "b" }, userHeader: "x-user" } }, { cache: { ttlMs: 60_000 } }],
      },
      {
        name: "packed",
        when: { path: "/packed/**" },
        to: "api",
        use: [{ compress: {} }, { cache: { ttlMs: 60_000 } }],
      },
      { name: "cors", when: { path: "/cors/**" }, to: "api", use: [{ cors: {} }, { cache: { ttlMs: 60_000 } }] },
      { name: "off", when: { path: "/off/**" }, to: "api" },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  origin?.server.closeAllConnections()
  origin?.server.close()
})

test.beforeEach(() => {
  seen = []
})

async function get(
  path: string,
  headers: Record<string, string> = {},
  method: "GET" | "HEAD" | "POST" | "DELETE" = "GET",
) {
  const answer = await request(`http://127.0.0.1:${gateway.port}${path}`, { headers, method })
  const body = Buffer.from(await answer.body.arrayBuffer())
  return { status: answer.statusCode, fields: answer.headers, body, text: body.toString() }
}

async function outcomes(route: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  const lines = text.matchAll(/^tidegate_cache_requests_total\{outcome="(\w+)",route="(\w+)"\} (\d+)$/gm)
  return Object.fromEntries(
    [...lines].filter((line) => line[2] === route).map(([, outcome, , n]) => [outcome, Number(n)]),
  )
}

const kept = (seconds: number, more: Record<string, string> = {}) => ({
  headers: { "cache-control": `max-age=${seconds}`, ...more },
})

test("an answer that says how long it is good is asked for once, has an age, and ends", async (t) => {
  replies["/said/a"] = () => kept(1, { "x-own": "1", connection: "x-hop", "x-hop": "1" })
  const first = await get("/said/a?q=1")
  t.is(first.fields["cache-status"], "tidegate; fwd=uri-miss; stored")
  await sleep(500)
  const second = await get("/said/a?q=1")
  t.deepEqual([first.text, second.text], ["answer 0", "answer 0"])
  t.deepEqual([second.fields.age, second.fields["x-own"], second.fields["x-hop"]], ["0", "1", undefined])
  t.is(second.fields["content-length"], "8")
  t.regex(String(second.fields["cache-status"]), /^tidegate; hit/)
  t.is(second.fields.date, first.fields.date)
  t.is((await get("/said/a?q=2")).text, "answer 1", "another query is another answer")
  await sleep(600)
  t.is((await get("/said/a?q=1")).text, "answer 2")
  t.deepEqual(seen, ["GET /said/a?q=1", "GET /said/a?q=2", "GET /said/a?q=1"])
})

test("without a word of the answer only a route's own time keeps it; no cache, no copy", async (t) => {
  for (const path of ["/said/none", "/off/a"])
    t.deepEqual([(await get(path)).text, (await get(path)).text], ["answer 0", "answer 1"])
  t.deepEqual([(await get("/ttl/a")).text, (await get("/ttl/a")).text], ["answer 0", "answer 0"])
  t.is((await get("/off/a")).fields["cache-status"], undefined)
})

for (const [name, reply, headers] of [
  ["no-store", { headers: { "cache-control": "no-store, max-age=60" } }, {}],
  ["private", { headers: { "cache-control": "private, max-age=60" } }, {}],
  ["Set-Cookie", { headers: { "cache-control": "max-age=60", "set-cookie": "a=b" } }, {}],
  ["Vary: *", { headers: { "cache-control": "max-age=60", vary: "*" } }, {}],
  ["a failure", { status: 500, headers: { "cache-control": "max-age=60" } }, {}],
  ["Authorization", { headers: { "cache-control": "max-age=60" } }, { authorization: "Bearer x" }],
  ["a cookie", { headers: { "cache-control": "max-age=60" } }, { cookie: "a=b" }],
  ["the request's no-store", { headers: { "cache-control": "max-age=60" } }, { "cache-control": "no-store" }],
  ["an answer that is cut off", { headers: { "cache-control": "max-age=60" }, cut: true }, {}],
  ["an answer that is too long", { headers: { "cache-control": "max-age=60" }, body: "x".repeat(60_000) }, {}],
] as [string, Reply, Record<string, string>][]) {
  test(`not kept: ${name}`, async (t) => {
    const path = `/said/not-${name.replace(/\W/g, "")}`
    replies[path] = () => reply
    await get(path, headers).catch(() => {})
    await get(path, headers).catch(() => {})
    t.is(seen.length, 2)
  })
}

test("an answer to credentials is kept where it says public", async (t) => {
  replies["/said/public"] = () => ({ headers: { "cache-control": "public, max-age=60" } })
  await get("/said/public", { authorization: "Bearer x" })
  t.is((await get("/said/public", { authorization: "Bearer y" })).text, "answer 0")
})

test("Vary: each kind of client has its own answer", async (t) => {
  replies["/said/vary"] = (_, { accept }) => ({ ...kept(60, { vary: "Accept" }), body: `for ${accept}` })
  for (const accept of ["a/a", "b/b", "a/a", "b/b"]) t.is((await get("/said/vary", { accept })).text, `for ${accept}`)
  t.is(seen.length, 2)
})

test("a proxy in front that came by another scheme or name gets another answer", async (t) => {
  replies["/ttl/behind"] = (_n, headers) => ({ body: `${headers["x-forwarded-proto"]} ${headers["x-forwarded-host"]}` })
  for (const [proto, host] of [
    ["http", "a"],
    ["https", "a"],
    ["https", "b"],
  ]) {
    for (const turn of ["first", "second"]) {
      const { text } = await get("/ttl/behind", { "x-forwarded-proto": `${proto}`, "x-forwarded-host": `${host}` })
      t.is(text, `${proto} ${host}`, turn)
    }
  }
  t.is(seen.length, 3)
})

test("what policies say of the client keeps clients apart", async (t) => {
  replies["/user/me"] = (_, headers) => ({ body: `hello ${headers["x-user"]}` })
  for (const [key, name] of [
    ["a", "alice"],
    ["b", "bob"],
    ["a", "alice"],
  ] as const) {
    t.is((await get("/user/me", { "x-api-key": key })).text, `hello ${name}`)
  }
  t.is(seen.length, 2)
  t.is((await get("/user/me")).status, 401, "who is not known gets nothing that is kept")
})

test("beyond its time an answer is asked about; 304 renews it, another one replaces it", async (t) => {
  replies["/said/tag"] = (n, headers) =>
    n === 1 && headers["if-none-match"] === '"1"'
      ? { status: 304, headers: { "cache-control": "max-age=60", etag: '"1"', "x-new": "yes" } }
      : kept(n === 0 ? 0 : 60, { etag: '"1"', "content-type": "text/x" })
  t.is((await get("/said/tag")).text, "answer 0")
  const renewed = await get("/said/tag")
  t.deepEqual([renewed.status, renewed.text, renewed.fields["x-new"]], [200, "answer 0", "yes"])
  t.is(renewed.fields["content-type"], "text/x")
  t.is((await get("/said/tag")).text, "answer 0")
  t.deepEqual(seen, ["GET /said/tag", 'GET /said/tag "1"'])
  replies["/said/date"] = (n) => ({
    headers: {
      "cache-control": n === 0 ? "max-age=0" : "max-age=60",
      "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT",
    },
  })
  await get("/said/date")
  t.is((await get("/said/date")).text, "answer 1")
  t.is(seen.at(-1), "GET /said/date Sun, 06 Nov 1994 08:49:37 GMT")
})

test("the client's own conditions are answered from what is kept", async (t) => {
  replies["/said/cond"] = () => kept(60, { etag: '"c"', "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT" })
  t.is((await get("/said/cond", { "if-none-match": '"c"' })).status, 200, "the first one fetches all of it")
  t.deepEqual(seen, ["GET /said/cond"])
  const known = await get("/said/cond", { "if-none-match": 'W/"c"' })
  t.deepEqual([known.status, known.fields.etag, known.text], [304, '"c"', ""])
  t.is((await get("/said/cond", { "if-none-match": '"d"' })).status, 200)
  t.is((await get("/said/cond", { "if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT" })).status, 304)
  const head = await get("/said/cond", {}, "HEAD")
  t.deepEqual([head.status, head.fields["content-length"], head.text], [200, "8", ""])
  t.is(seen.length, 1)
})

test("a request may want it newer, older, or only what is there", async (t) => {
  replies["/said/ask"] = () => kept(60)
  t.is((await get("/said/ask", { "cache-control": "only-if-cached" })).status, 504)
  await get("/said/ask")
  t.is((await get("/said/ask", { "cache-control": "only-if-cached" })).text, "answer 0")
  t.is((await get("/said/ask", { "cache-control": "no-cache" })).text, "answer 1")
  t.is((await get("/said/ask", { pragma: "no-cache" })).text, "answer 2")
  t.is((await get("/said/ask", { "cache-control": "max-age=0" })).text, "answer 3")
  t.is((await get("/said/ask", { "cache-control": "min-fresh=100" })).text, "answer 4")
  t.is((await get("/said/ask")).text, "answer 4")
  replies["/said/old"] = (n) => kept(n === 0 ? 1 : 60)
  await get("/said/old")
  await sleep(1_100)
  t.is((await get("/said/old", { "cache-control": "max-stale=60" })).text, "answer 0")
  t.is((await get("/said/old")).text, "answer 1")
})

test("many who miss at once make one fetch, also over both workers", async (t) => {
  replies["/said/many"] = () => ({ ...kept(60), ms: 200 })
  const all = await Promise.all(Array.from({ length: 40 }, () => get("/said/many")))
  t.true(all.every(({ text }) => text === "answer 0"))
  t.is(seen.length, 1)
})

test("many who miss an answer that is not kept do not wait in line", async (t) => {
  replies["/said/uncached"] = () => ({ ms: 200 })
  const began = performance.now()
  await Promise.all(Array.from({ length: 20 }, () => get("/said/uncached")))
  t.is(seen.length, 20)
  t.true(performance.now() - began < 1_500)
})

test("stale-while-revalidate: the old one at once, the new one behind", async (t) => {
  replies["/stale/a"] = (n) => ({ ...kept(n === 0 ? 0 : 60), ms: n === 0 ? 0 : 1_500 })
  await get("/stale/a")
  const began = performance.now()
  const stale = await get("/stale/a")
  t.is(stale.text, "answer 0")
  t.true(performance.now() - began < 1_400)
  for (const end = Date.now() + 6_000; Date.now() < end && (await get("/stale/a")).text !== "answer 1"; )
    await sleep(20)
  t.is((await get("/stale/a")).text, "answer 1")
  t.is(seen.length, 2, "one fetch behind, however many asked meanwhile")
})

test("stale-if-error: what is kept stands in for an upstream that fails, but not against must-revalidate", async (t) => {
  replies["/error/a"] = (n) => (n === 0 ? kept(0) : { status: 503 })
  await get("/error/a")
  const excused = await get("/error/a")
  t.deepEqual([excused.status, excused.text], [200, "answer 0"])
  replies["/error/b"] = (n) =>
    n === 0 ? { headers: { "cache-control": "max-age=0, must-revalidate", etag: '"b"' } } : { status: 503 }
  await get("/error/b")
  t.is((await get("/error/b")).status, 503)
  replies["/error/c"] = (n) => (n === 0 ? kept(0) : { dead: true })
  await get("/error/c")
  t.is((await get("/error/c")).text, "answer 0", "also where it does not answer at all")
  t.true((await outcomes("error")).stale === 2)
})

test("a change by POST, PUT or DELETE makes what is kept invalid, a refused one does not", async (t) => {
  replies["/said/thing"] = () => kept(60)
  await get("/said/thing")
  await get("/said/thing", {}, "DELETE")
  t.is((await get("/said/thing")).text, "answer 1")
  replies["/said/thing"] = (_, headers) => (headers["x-fail"] === undefined ? kept(60) : { status: 403 })
  await get("/said/thing", { "x-fail": "1" }, "POST")
  t.is((await get("/said/thing")).text, "answer 1")
})

test("compressed answers are kept as they are sent; headers for one client are not", async (t) => {
  const long = "a line of text\n".repeat(400)
  replies["/packed/a"] = () => ({ headers: { "content-type": "text/plain", etag: '"p"' }, body: long })
  for (let count = 0; count < 2; count++) {
    const br = await get("/packed/a", { "accept-encoding": "br" })
    t.deepEqual([br.fields["content-encoding"], br.fields.etag], ["br", 'W/"p"'])
    t.is(br.fields.vary, "accept-encoding")
    t.is(brotliDecompressSync(br.body).toString(), long)
    const plain = await get("/packed/a", { "accept-encoding": "identity" })
    t.deepEqual([plain.fields["content-encoding"], plain.text.length], [undefined, long.length])
  }
  t.is(seen.length, 2)
  await get("/cors/a", { origin: "https://a.example" })
  const other = await get("/cors/a")
  t.is(other.text, "answer 0")
  t.is((await get("/cors/a", { origin: "https://b.example" })).fields["access-control-allow-origin"], "*")
})

test("it is bounded, and purged by the admin API", async (t) => {
  for (let count = 0; count < 80; count++) await get(`/ttl/n${count}`)
  const metric = async (name: string) =>
    Number(new RegExp(`^${name} (\\d+)$`, "m").exec(await (await fetch(`${gateway.admin}/metrics`)).text())?.[1])
  t.true((await metric("tidegate_cache_entries")) <= 50)
  t.true((await metric("tidegate_cache_bytes")) <= 200_000)
  t.true((await metric("tidegate_cache_evicted_total")) >= 30)
  const purge = async (query: string) =>
    (await (await fetch(`${gateway.admin}/v1/cache${query}`, { method: "DELETE" })).json()) as { removed: number }
  await get("/ttl/mine")
  t.is((await purge("?path=/ttl/mine&route=said")).removed, 0)
  t.is((await purge("?path=/ttl/mine&route=ttl")).removed, 1)
  t.is((await get("/ttl/mine")).text, "answer 1")
  t.true((await purge("?path=/ttl/*")).removed > 1)
  await purge("")
  t.is(await metric("tidegate_cache_entries"), 0)
})
