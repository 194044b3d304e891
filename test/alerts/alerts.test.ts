/** Alerts: the state machine and the meter without a clock, then a gateway whose metrics cross a bound. */
import { mkdtempSync, readFileSync } from "node:fs"
import { createServer, type IncomingMessage } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test from "ava"
import fc from "fast-check"
import { AlertBoard, type AlertReport, type AlertState, Meter, step } from "../../src/alerts/index.ts"
import { loadData } from "../../src/config/index.ts"
import type { Sample } from "../../src/metrics/index.ts"
import { start, until } from "../gateway/start.ts"

const QUIET: AlertState = { state: "quiet", since: 0, value: null }
const RULE = { above: 10, below: null, clearAt: 5, forMs: 1_000 }

function walk(values: readonly (number | null)[], rule: Parameters<typeof step>[0] = RULE): string {
  let state = QUIET
  const seen: string[] = []
  for (const [second, value] of values.entries()) {
    const next = step(rule, state, value, second * 500)
    state = next.state
    seen.push(next.change === null ? state.state : `${state.state}!`)
  }
  return seen.join(" ")
}

test("fires after its time, and is over only beyond clearAt", (t) => {
  t.is(walk([11, 11, 11, 9, 6, 5]), "pending pending firing! firing firing quiet!")
  t.is(walk([11, 9, 11, 11, 11]), "pending quiet pending pending firing!")
  t.is(walk([11], { ...RULE, forMs: 0 }), "firing!")
  t.is(
    walk([4, 3, 3, 3, 4], { above: null, below: 4, clearAt: null, forMs: 1_000 }),
    "quiet pending pending firing! quiet!",
  )
})

test("a metric that is not there starts nothing and ends nothing", (t) => {
  t.is(walk([null, 11, null, 11, 11, 11, null, 5]), "quiet pending quiet pending pending firing! firing quiet!")
})

test("whatever comes, it never fires twice without being over in between", (t) => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer({ min: 0, max: 20 })), { maxLength: 60 }), (values) => {
      const changes = walk(values).match(/(firing|quiet)!/g) ?? []
      t.deepEqual(
        changes,
        changes.map((_, at) => (at % 2 === 0 ? "firing!" : "quiet!")),
      )
    }),
  )
})

const alertOf = (alert: object) => {
  const whole = { name: "a", metric: "tidegate_x_total", above: 1, do: [{ log: "warn" }], ...alert }
  const [first] = loadData({ alerts: [whole] }).config.alerts
  if (first === undefined) throw new Error("there is one")
  return first
}

const counter = (labels: Record<string, string>, value: number): Sample => {
  return { metric: "tidegate_x_total", labels, kind: "counter", values: [value] }
}

test("a meter sums matching series and makes rates of them", (t) => {
  const value = new Meter(alertOf({ labels: { a: "1" } }))
  t.is(value.read([], 0), null)
  t.is(value.read([counter({ a: "1", b: "x" }, 3), counter({ a: "1", b: "y" }, 4), counter({ a: "2" }, 9)], 1_000), 7)
  const rate = new Meter(alertOf({ per: "second" }))
  t.is(rate.read([], 0), null)
  t.is(rate.read([counter({}, 10)], 2_000), 5, "it counts from 0 where it was not there")
  t.is(rate.read([counter({}, 10)], 3_000), 0)
  t.is(rate.read([counter({}, 2)], 4_000), 0, "a counter that begins anew is no negative rate")
})

test("a meter gives the quantile of what came since the last look", (t) => {
  const meter = new Meter(alertOf({ metric: "tidegate_d_seconds", quantile: 0.9 }))
  const read = (counts: number[], now: number) =>
    meter.read(
      [{ metric: "tidegate_d_seconds", labels: {}, kind: "histogram", buckets: [0.1, 1], values: [...counts, 0, 0] }],
      now,
    )
  t.is(read([100, 100, 100], 0), null)
  t.is(read([105, 110, 110], 1_000), 1)
  t.is(read([105, 110, 120], 2_000), Number.POSITIVE_INFINITY)
  t.is(read([105, 110, 120], 3_000), null)
})

test("an alert that a new configuration keeps goes on where it was", (t) => {
  const reports: AlertReport[] = []
  const board = new AlertBoard({
    scrape: () => [counter({}, 5)],
    log: () => {},
    publish: async () => {},
    changed: (report) => reports.push(report),
  })
  const alert = alertOf({ forMs: 1_000 })
  board.use([alert], 0)
  board.look(0)
  board.use([{ ...alert }, alertOf({ name: "b" })], 500)
  board.look(1_000)
  t.deepEqual(
    reports.map(({ name, state }) => `${name} ${state}`),
    ["a firing", "b firing"],
  )
  board.use([], 2_000)
  t.deepEqual(board.rows(), [])
})

test("a gateway's alert logs, calls, publishes and runs a command, when it fires and when it is over", async (t) => {
  const calls: unknown[] = []
  let refusals = 1
  const server = createServer((request: IncomingMessage, response) => {
    let body = ""
    request.on("data", (part) => {
      body += String(part)
    })
    request.on("end", () => {
      const refuses = refusals-- > 0
      if (!refuses) calls.push(JSON.parse(body))
      response.writeHead(refuses ? 503 : 204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  t.teardown(() => server.close())
  const file = join(mkdtempSync(join(tmpdir(), "tidegate-")), "out")
  const write = `require("fs").appendFileSync(process.argv[1], process.argv.slice(2).join(" ") + "\\n")`
  const { gateway, native } = await start(t, {
    alerts: [
      {
        name: "queue",
        metric: "tidegate_queued_messages",
        above: 100,
        clearAt: 10,
        do: [
          { log: "error" },
          { webhook: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` },
          { topic: "alerts/{name}" },
          { command: [process.execPath, "-e", write, file, "{name}", "{state}", "{value}"] },
        ],
      },
    ],
  })
  const [logged, heard, topics]: [string[], string[], string[]] = [[], [], []]
  gateway.on("log", ({ level, text }) => logged.push(`${level} ${text}`))
  gateway.on("alert", ({ name, state, value }) => heard.push(`${name} ${state} ${value}`))
  gateway.subscribe("alerts/#", ({ topic, payload }) => topics.push(`${topic} ${payload}`))
  const queued = (value: number): void => {
    native.series = [{ metric: "tidegate_queued_messages", labels: {}, kind: "gauge", values: [value] }]
  }
  queued(500)
  await until(() => heard.length === 1)
  t.is(gateway.stats().alerts[0]?.state, "firing")
  queued(50)
  await new Promise((resolve) => setTimeout(resolve, 1_200))
  queued(5)
  await until(() => heard.length === 2 && calls.length === 2 && topics.length === 2)
  await until(() => readFileSync(file, "utf8").split("\n").length === 3)
  t.deepEqual(heard, ["queue firing 500", "queue resolved 5"])
  t.regex(logged[0] ?? "", /^50 alert "queue" firing: tidegate_queued_messages is 500, the alert is for above 100$/)
  t.like(calls[0], { name: "queue", state: "firing", value: 500, above: 100 })
  t.regex(topics[0] ?? "", /^alerts\/queue \{"name":"queue","state":"firing"/)
  t.is(readFileSync(file, "utf8"), "queue firing 500\nqueue resolved 5\n")
})

test("says every problem of an alert", (t) => {
  const alerts = [
    { name: "a", metric: "tidegate_x", above: 1, below: 2, do: [{ log: "warn", topic: "a/+" }] },
    { name: "a", metric: "tidegate_x", above: 1, per: "second", quantile: 0.5, do: [{ topic: "a/#" }] },
  ]
  const { problems } = t.throws<Error & { problems: readonly { path: string; message: string }[] }>(() =>
    loadData({ alerts }),
  )
  t.deepEqual(
    problems.map(({ path }) => path),
    ["alerts[0]", "alerts[0].do[0]", "alerts[0].do[0].topic", "alerts[1].name", "alerts[1]", "alerts[1].do[0].topic"],
  )
})
