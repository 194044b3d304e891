/** The optimizer over a gateway: proposals, changes, undoing, and what a new configuration does to them. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import test from "ava"
import { createAdmin } from "../../src/admin/index.ts"
import { loadData } from "../../src/config/index.ts"
import { createGateway } from "../../src/gateway/index.ts"
import type { Sample } from "../../src/metrics/index.ts"
import { Observer, Optimizer } from "../../src/optimizer/index.ts"
import { until } from "../gateway/start.ts"
import { withAddon } from "../gateway/with-addon.ts"

const BOUNDS = [0.01, 0.1, 1]

/** Samples of an upstream, added up as counters are. */
class Meters {
  #codes: Record<string, number> = {}
  #counts = [0, 0, 0, 0]
  #count = 0
  turnedAway = 0
  failures = 0
  broken: Record<string, number> = {}
  active = 0

  answer(code: string, seconds: number, times: number): void {
    this.#codes[code] = (this.#codes[code] ?? 0) + times
    this.#counts = this.#counts.map(
      (count, at) => count + (seconds <= (BOUNDS[at] ?? Number.POSITIVE_INFINITY) ? times : 0),
    )
    this.#count += times
  }

  samples(): Sample[] {
    const labels = { upstream: "api" }
    const counter = (metric: string, more: Record<string, string>, value: number): Sample => {
      return { metric, labels: { ...labels, ...more }, kind: "counter", values: [value] }
    }
    return [
      ...Object.entries(this.#codes).map(([code, count]) =>
        counter("tidegate_upstream_requests_total", { code }, count),
      ),
      counter("tidegate_upstream_failures_total", { reason: "UT" }, this.failures),
      ...Object.entries(this.broken).map(([code, count]) =>
        counter("tidegate_upstream_broken_answers_total", { code }, count),
      ),
      counter("tidegate_upstream_overflow_total", { reason: "requests" }, this.turnedAway),
      counter("tidegate_upstream_overflow_total", { reason: "pending" }, 1_000),
      counter("tidegate_upstream_connections", { state: "active" }, this.active),
      counter("tidegate_upstream_connections", { state: "idle" }, 50),
      {
        ...counter("tidegate_upstream_requests_total", { code: "500" }, 1_000),
        labels: { upstream: "other", code: "500" },
      },
      {
        metric: "tidegate_upstream_request_duration_seconds",
        labels,
        kind: "histogram",
        buckets: BOUNDS,
        values: [...this.#counts, 0, this.#count],
      },
    ]
  }
}

test("a look is what came since the one before, of this upstream alone", (t) => {
  const meters = new Meters()
  const observer = new Observer("api")
  meters.answer("200", 0.05, 500)
  t.is(observer.look(meters.samples()), null)
  meters.answer("200", 0.05, 96)
  meters.answer("503", 0.5, 2)
  meters.failures = 2
  meters.turnedAway = 7
  meters.active = 10
  observer.glance(meters.samples())
  meters.active = 20
  const seen = observer.look(meters.samples())
  t.like(seen, { requests: 100, errorRate: 0.04, inFlight: 15, turnedAway: 7 })
  // 97.02 of 98 answers: 1.02 of the 2 beyond 100 ms, linear to 1 s.
  t.is(Math.round(seen?.p99Ms ?? 0), 559)
})

test("an answer that broke off is one request and one error", (t) => {
  const meters = new Meters()
  const observer = new Observer("api")
  t.is(observer.look(meters.samples()), null)
  meters.answer("200", 0.05, 10)
  meters.answer("503", 0.05, 2)
  // Five of those with 200, one of those with 503.
  meters.failures = 6
  meters.broken = { "200": 5, "503": 1 }
  t.like(observer.look(meters.samples()), { requests: 12, errorRate: 7 / 12 })
})

interface Bench {
  readonly optimizer: Optimizer
  readonly meters: Meters
  readonly log: string[]
  readonly applied: number[]
  limit(): number
  /** Another look, in which so many answers came. */
  look(seconds: number, active: number): Promise<void>
}

const CONFIG = {
  upstreams: {
    api: { endpoints: ["127.0.0.1:9"], maxRequests: 100, goals: { p99Ms: 100, maxRequests: { min: 10, max: 200 } } },
  },
}

function bench(config: object = {}): Bench {
  const meters = new Meters()
  const log: string[] = []
  const applied: number[] = []
  const loaded = loadData({ ...CONFIG, ...config }).config
  const limit = (): number => optimizer.into(loaded).upstreams[0]?.maxRequests ?? 0
  const optimizer: Optimizer = new Optimizer({
    scrape: () => meters.samples(),
    apply: async () => void applied.push(limit()),
    log: (text) => log.push(text),
    now: () => 1,
  })
  optimizer.use(loaded)
  optimizer.close()
  const look = async (seconds: number, active: number): Promise<void> => {
    meters.answer("200", seconds, 1_000)
    meters.active = active
    await optimizer.look()
  }
  return { optimizer, meters, log, applied, limit, look }
}

test("without goals nobody is looked at, and nothing is scraped", async (t) => {
  const optimizer = new Optimizer({
    scrape: () => t.fail() as never,
    apply: async () => t.fail(),
    log: () => t.fail(),
    now: () => 1,
  })
  const { config } = loadData({ upstreams: { api: { endpoints: ["127.0.0.1:9"] } } })
  optimizer.use(config)
  t.is(optimizer.into(config), config)
  t.deepEqual(optimizer.report().upstreams, [])
})

test("a proposal waits, is replaced, dropped, applied by hand and taken back", async (t) => {
  const { optimizer, look, limit, applied, log } = bench()
  await look(0.05, 50)
  t.is(optimizer.report().upstreams[0]?.verdict, "there was one look; the second one tells")
  await look(0.5, 100)
  const states = () => optimizer.report().changes.map(({ id, to, state }) => `${id} ${to} ${state}`)
  t.deepEqual(states(), ["1 80 proposed"])
  await look(0.5, 60)
  t.deepEqual(states(), ["1 80 proposed"], "the same direction is no other one")
  await optimizer.look()
  t.deepEqual(states(), ["1 80 proposed"], "nothing was seen, nothing is said")
  await look(0.05, 50)
  t.deepEqual(states(), ["1 80 dropped"])
  await look(0.5, 50)
  t.deepEqual(states(), ["1 80 dropped", "2 40 proposed"])
  t.deepEqual([limit(), applied], [100, []], "nothing is changed by itself")
  t.like(await optimizer.apply(2), { from: 100, to: 40, state: "applied" })
  t.deepEqual(applied, [40])
  await t.throwsAsync(optimizer.apply(2), { code: "OPTIMIZER_CHANGE", message: /change 2 is applied and not proposed/ })
  await t.throwsAsync(optimizer.undo(9), { code: "OPTIMIZER_CHANGE", message: /change 9 is not known/ })
  t.like(await optimizer.undo(2), { state: "undone" })
  t.deepEqual([limit(), applied], [100, [40, 100]])
  t.deepEqual(
    log.map((line) => line.replace("optimizer: maxRequests of upstream api ", "")),
    [
      "proposes 80 instead of 100 (change 1): p99 of 991 ms is above 100 ms",
      "proposes 40 instead of 100 (change 2): p99 of 991 ms is above 100 ms",
      "100 became 40 (change 2): p99 of 991 ms is above 100 ms",
      "is 100 again instead of 40 (change 2): as asked",
    ],
  )
})

test("applied by itself, a change that does not help is taken back, and rests", async (t) => {
  const { optimizer, look, limit } = bench({ optimizer: { mode: "apply" } })
  await look(0.05, 50)
  await look(0.5, 100)
  t.is(limit(), 80)
  await look(0.5, 80)
  t.is(limit(), 100)
  await look(0.5, 100)
  t.is(limit(), 100)
  const { changes, made, upstreams } = optimizer.report()
  t.like(changes[0], { state: "undone", from: 100, to: 80 })
  t.deepEqual(made, { proposed: 0, applied: 1, undone: 1, dropped: 0 })
  t.regex(upstreams[0]?.verdict ?? "", /fewer requests at the same time did not help before/)
})

test("what was applied outlives another configuration that says the same of the upstream, and no other", async (t) => {
  const { optimizer, look } = bench({ optimizer: { mode: "apply" } })
  await look(0.05, 50)
  await look(0.5, 100)
  const limitIn = (config: object): number | undefined => {
    const loaded = loadData({ ...CONFIG, ...config }).config
    const before = optimizer.into(loaded).upstreams[0]?.maxRequests
    optimizer.use(loaded)
    optimizer.close()
    return optimizer.into(loaded).upstreams[0]?.maxRequests === before ? before : undefined
  }
  t.is(limitIn({ log: { level: "debug" } }), 80)
  const other = { upstreams: { api: { ...CONFIG.upstreams.api, maxRequests: 90 } } }
  t.is(limitIn(other), 90)
  t.is(limitIn({}), 100)
})

test("what cannot be applied changes nothing", async (t) => {
  const meters = new Meters()
  const log: string[] = []
  const { config } = loadData({ ...CONFIG, optimizer: { mode: "apply" } })
  const apply = () => Promise.reject(new Error("not now"))
  const optimizer = new Optimizer({
    scrape: () => meters.samples(),
    apply,
    log: (text) => log.push(text),
    now: () => 1,
  })
  optimizer.use(config)
  optimizer.close()
  meters.active = 100
  await optimizer.look()
  meters.answer("200", 0.5, 1_000)
  await optimizer.look()
  t.is(optimizer.into(config).upstreams[0]?.maxRequests, 100)
  t.deepEqual(log, ["optimizer: a change of upstream api could not be applied: not now"])
  t.like(optimizer.report().changes[0], { state: "dropped" })
})

test("goals that make no sense are refused with their place", (t) => {
  const faults = (upstream: object): string[] => {
    const problems: string[] = []
    try {
      loadData({ upstreams: { api: { endpoints: ["127.0.0.1:9"], ...upstream } } })
    } catch (error) {
      for (const { path, message } of (error as { problems: { path: string; message: string }[] }).problems)
        problems.push(`${path}: ${message}`)
    }
    return problems
  }
  t.deepEqual(faults({ goals: {} }), ['upstreams.api.goals: say "errorRate", "p99Ms" or both'])
  t.deepEqual(faults({ maxRequests: 10, goals: { p99Ms: 5, maxRequests: { min: 20, max: 40 } } }), [
    "upstreams.api.goals.maxRequests: maxRequests, which is 10, is not between 20 and 40",
  ])
  t.deepEqual(faults({ adaptive: true, goals: { p99Ms: 5 } }), [
    'upstreams.api.goals: "adaptive" moves the limit already: say one of them',
  ])
})

withAddon("an upstream that is asked too much is given less, over the admin API", async (t) => {
  // One request at a time, 4 ms each: what comes together waits.
  let line = Promise.resolve()
  const server = createServer((_, response) => {
    line = line.then(() => new Promise((resolve) => setTimeout(resolve, 4)))
    void line.then(() => response.end("done"))
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  t.teardown(() => server.close())
  const gateway = await createGateway({
    workers: 1,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0" }],
    upstreams: {
      api: {
        endpoints: [`127.0.0.1:${(server.address() as AddressInfo).port}`],
        maxRequests: 64,
        goals: { p99Ms: 60, maxRequests: { min: 2, max: 64 } },
      },
    },
    routes: [{ when: { path: "/**" }, to: "api" }],
  })
  await gateway.start()
  t.teardown(() => gateway.close())
  const admin = { host: "127.0.0.1", port: 0, token: null, readToken: null, readers: [], tls: null, hosts: [] }
  const app = await createAdmin(admin, gateway, null)
  t.teardown(() => app.close())
  const report = async () => (await app.inject("/v1/optimizer")).json()
  const url = `http://${gateway.stats().listeners[0]?.address}/`
  const burst = async (): Promise<number[]> =>
    Promise.all(Array.from({ length: 48 }, async () => (await fetch(url)).status))
  // Requests are under way when the optimizer looks.
  const look = async (): Promise<number[]> => {
    const rounds = [await burst(), await burst()]
    const last = burst()
    await until(() => JSON.parse(gateway.native.upstreams())[0].endpoints[0].active > 30)
    await gateway.optimizer.look()
    return [...rounds.flat(), ...(await last)]
  }
  await look()
  t.true((await look()).every((status) => status === 200))
  const [change] = (await report()).changes
  t.like(change, { id: 1, upstream: "api", from: 64, state: "proposed" })
  t.true(change.to >= 2 && change.to < 48, `${change.to}`)
  const applied = await app.inject({ method: "POST", url: "/v1/optimizer/changes/1/apply" })
  t.is(applied.statusCode, 200)
  t.like((await report()).upstreams[0], { maxRequests: { configured: 64, now: change.to } })
  const shed = (await burst()).filter((status) => status === 503).length
  t.is(shed, 48 - change.to, "so many fit, the others are turned away at once")
  t.is((await app.inject({ method: "POST", url: "/v1/optimizer/changes/1/apply" })).statusCode, 409)
  t.is((await app.inject({ method: "POST", url: "/v1/optimizer/changes/1/undo" })).statusCode, 200)
  t.true((await burst()).every((status) => status === 200))
})
