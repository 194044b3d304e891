/** Hedging: a late answer's request goes to a second endpoint; the first good answer wins. */
import type { IncomingMessage, ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { request } from "undici"
import { type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial

/** An endpoint that is told what to do, and what it saw. */
interface Endpoint {
  address: string
  seen: string[]
  /** Requests whose client went away before the answer. */
  aborted: number
  answer: (request: IncomingMessage, response: ServerResponse) => void
  close: () => void
}

async function endpoint(): Promise<Endpoint> {
  const self: Endpoint = { address: "", seen: [], aborted: 0, answer: () => {}, close: () => {} }
  const { server, address } = await upstream((request, response) => {
    self.seen.push(`${request.method} ${request.url}`)
    response.on("close", () => {
      if (!response.writableFinished) self.aborted++
    })
    self.answer(request, response)
  })
  self.address = address
  self.close = () => {
    server.closeAllConnections()
    server.close()
  }
  return self
}

let gateway: Running
/** Round robin: the first request of a pair goes to one, the second try to the other. */
let pair: [Endpoint, Endpoint]

const fast = (_: IncomingMessage, response: ServerResponse): void => void response.end("fast")
const never = (): void => {}
const after =
  (ms: number, body: string, status = 200) =>
  async (_: IncomingMessage, response: ServerResponse): Promise<void> => {
    await sleep(ms)
    response.writeHead(status).end(body)
  }

ava.before(async () => {
  pair = [await endpoint(), await endpoint()]
  const endpoints = pair.map(({ address }) => address)
  const hedged = (hedge: unknown, more: object = {}) => ({ retry: { attempts: 1, hedge, ...more } })
  gateway = await runGateway({
    workers: 1,
    upstreams: { api: { endpoints }, lone: { endpoints: endpoints.slice(0, 1) }, poor: { endpoints, maxRetries: 0 } },
    routes: [
      { when: { path: "/fixed/**" }, to: "api", use: [hedged({ afterMs: 100 })] },
      { when: { path: "/learnt/**" }, to: "api", use: [hedged(true)] },
      { when: { path: "/lone/**" }, to: "lone", use: [hedged({ afterMs: 50 })] },
      { when: { path: "/plain/**" }, to: "api", use: [hedged({ afterMs: 100 }, { on: ["connect-failure"] })] },
      { when: { path: "/poor/**" }, to: "poor", use: [hedged({ afterMs: 50 })] },
    ],
  })
})

ava.after.always(async () => {
  await gateway?.stop()
  for (const { close } of pair ?? []) close()
})

/** Whichever endpoint is asked first does `first`, the other one `second`. */
function script(first: Endpoint["answer"], second: Endpoint["answer"]): void {
  let asked = 0
  for (const each of pair) {
    each.seen = []
    each.aborted = 0
    each.answer = (...args) => (asked++ === 0 ? first : second)(...args)
  }
}

async function call(path: string, init: { method?: "GET" | "POST" | "PUT"; body?: string } = {}) {
  const began = performance.now()
  const { statusCode, body } = await request(`http://127.0.0.1:${gateway.port}${path}`, { method: "GET", ...init })
  return { status: statusCode, text: await body.text(), ms: performance.now() - began }
}

async function hedges(upstream: string, outcome: string): Promise<number> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  const line = text.split("\n").find((line) => {
    return line.startsWith("tidegate_upstream_hedges_total{") && line.includes(`"${outcome}",upstream="${upstream}"`)
  })
  return Number(line?.split(" ").at(-1) ?? 0)
}

const total = () => pair[0].seen.length + pair[1].seen.length
const aborted = () => pair[0].aborted + pair[1].aborted

test("a late first try is outrun by a second one, and told to stop", async (t) => {
  script(never, fast)
  const { status, text, ms } = await call("/fixed/a")
  t.deepEqual([status, text, total()], [200, "fast", 2])
  t.true(ms >= 95 && ms < 2_000, `${ms} ms`)
  for (const end = Date.now() + 3_000; aborted() === 0 && Date.now() < end; ) await sleep(10)
  t.is(aborted(), 1, "the loser's endpoint sees its client go")
  t.is(await hedges("api", "won"), 1)
})

test("an answer in time makes no second try", async (t) => {
  script(after(20, "early"), fast)
  t.is((await call("/fixed/b")).text, "early")
  await sleep(150)
  t.is(total(), 1)
})

test("the first one may still win; bodies come whole", async (t) => {
  script(after(180, "x".repeat(300_000)), after(2_000, "late"))
  const { text } = await call("/fixed/c")
  t.deepEqual([text.length, total()], [300_000, 2])
  t.is(await hedges("api", "lost"), 1)
})

test("a second answer that a retry would not accept does not win", async (t) => {
  script(after(300, "slow but good"), after(0, "bad", 503))
  t.is((await call("/fixed/d")).text, "slow but good")
  t.is(await hedges("api", "failed"), 1)
})

test("a first answer that a retry would not accept waits for the second", async (t) => {
  script(after(200, "bad", 502), after(250, "good"))
  const { status, text } = await call("/fixed/e")
  t.deepEqual([status, text, total()], [200, "good", 2])
})

test("a first connection that breaks leaves it to the second", async (t) => {
  script(
    async (request) => {
      await sleep(200)
      request.socket.destroy()
    },
    after(300, "still here"),
  )
  t.is((await call("/fixed/f")).text, "still here")
})

test("a body that is at hand goes to both, the same", async (t) => {
  const bodies: string[] = []
  const read = async (request: IncomingMessage, response: ServerResponse, answers: boolean): Promise<void> => {
    let body = ""
    for await (const part of request) body += part
    bodies.push(body)
    if (answers) response.end("took it")
  }
  script(
    (request, response) => void read(request, response, false),
    (request, response) => void read(request, response, true),
  )
  t.is((await call("/fixed/g", { method: "PUT", body: "payload" })).text, "took it")
  t.deepEqual(bodies, ["payload", "payload"])
})

test("what may not be repeated is not, nor where there is no second endpoint or no budget", async (t) => {
  script(after(200, "once"), fast)
  t.is((await call("/fixed/h", { method: "POST", body: "x" })).text, "once")
  t.is(total(), 1)
  script(after(150, "alone"), fast)
  t.is((await call("/lone/a")).text, "alone")
  t.is(total(), 1)
  script(after(150, "poor"), fast)
  t.is((await call("/poor/a")).text, "poor")
  t.deepEqual([total(), await hedges("poor", "budget")], [1, 1])
})

test("an error that wins, one that comes first and one that both make are told of once, with the request", async (t) => {
  const broken = (request: IncomingMessage): void => void request.socket.destroy()
  const late = async (request: IncomingMessage): Promise<void> => {
    await sleep(200)
    request.socket.destroy()
  }
  const cases: [string, Endpoint["answer"], Endpoint["answer"], string][] = [
    ["won", never, after(0, "x".repeat(300_000), 500), '"status":500,.*"msg":"GET /plain/won -"'],
    ["first", after(200, "bad", 501), never, '"status":501,.*"msg":"GET /plain/first -"'],
    ["both", late, broken, '"status":502,.*"msg":"GET /plain/both UC"'],
  ]
  for (const [name, first, second, told] of cases) {
    script(first, second)
    const { status } = await call(`/plain/${name}?secret`)
    t.regex(told, new RegExp(String(status)), name)
    const lines = (): number => gateway.output().split(`"msg":"GET /plain/${name} `).length - 1
    for (const end = Date.now() + 3_000; lines() === 0 && Date.now() < end; ) await sleep(20)
    await sleep(150)
    t.is(lines(), 1, name)
    t.regex(gateway.output(), new RegExp(told), name)
  }
})

test("the second try goes where the client's address leads, also from behind a proxy", async (t) => {
  const three = [await endpoint(), await endpoint(), await endpoint()]
  const own = await runGateway({
    workers: 1,
    listeners: [{ address: "tcp://127.0.0.1:0", trustedProxies: ["127.0.0.0/8"] }],
    upstreams: { api: { endpoints: three.map(({ address }) => address), balance: "ipHash", maxRetries: 100 } },
    routes: [{ when: { path: "/**" }, to: "api", use: [{ retry: { attempts: 1, hedge: { afterMs: 20 } } }] }],
  })
  t.teardown(async () => {
    await own.stop()
    for (const { close } of three) close()
  })
  /** The endpoints that a client's request came to, in their order. */
  const ways: string[] = []
  for (let client = 1; client <= 40; client++) {
    const asked: number[] = []
    for (const [index, each] of three.entries())
      each.answer = (_, response) => {
        asked.push(index)
        if (asked.length === 2) response.end("second")
      }
    const headers = { "x-forwarded-for": `192.0.2.${client}` }
    const { body } = await request(`http://127.0.0.1:${own.port}/${client}`, { headers })
    t.is(await body.text(), "second")
    ways.push(asked.join(" to "))
  }
  t.is(new Set(ways).size, 6, [...new Set(ways)].join())
})

test("without a number, late is what most answers were faster than", async (t) => {
  script(fast, fast)
  for (let count = 0; count < 40; count++) await call("/learnt/warm")
  script(never, fast)
  const { text, ms } = await call("/learnt/slow")
  t.is(text, "fast")
  t.true(ms < 1_000, `${ms} ms`)
})
