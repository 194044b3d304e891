/** One limit for two gateways, over a real Redis and a real NATS that go away and come back. */
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { loadData } from "../../src/config/index.ts"
import { type Daemon, natsServer, redisServer } from "../registry/servers.ts"
import { type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial

/** So slow that a bucket does not fill while a test runs. */
const limit = { name: "api", perSecond: 0.01, burst: 6, key: { header: "x-key" } }
const answer = { respond: { status: 200, body: "x" } }
const config = (rateLimits: object) => ({
  rateLimits: { intervalMs: 20, ...rateLimits },
  routes: [
    { when: { path: "/shared" }, to: answer, use: [{ rateLimit: { ...limit, shared: true } }] },
    { when: { path: "/own" }, to: answer, use: [{ rateLimit: { ...limit, name: "own" } }] },
  ],
})

/** How many of `count` pass. */
async function passed(gateway: Running, path: string, key: string, count: number): Promise<number> {
  let good = 0
  for (let call = 0; call < count; call++) {
    const response = await fetch(`http://127.0.0.1:${gateway.port}${path}`, {
      headers: { "x-key": encodeURIComponent(key) },
    })
    await response.arrayBuffer()
    if (response.status === 200) good++
  }
  return good
}

async function messages(gateway: Running, outcome: string): Promise<number> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  const pattern = new RegExp(`tidegate_shared_limit_messages_total\\{outcome="${outcome}"\\} (\\d+)`)
  return Number(pattern.exec(text)?.[1] ?? -1)
}

async function until(isSo: () => Promise<boolean> | boolean, what: string): Promise<void> {
  for (const end = Date.now() + 20_000; !(await isSo()); await sleep(20)) if (Date.now() > end) throw new Error(what)
}

/** Until the other one has heard of a call that is made now, and so of all before it. */
async function isHeard(from: Running, by: Running): Promise<void> {
  // One interval tells all of one limit in one message.
  await sleep(40)
  const before = await messages(by, "received")
  await until(async () => {
    await passed(from, "/shared", `probe ${Math.random()}`, 1)
    return (await messages(by, "received")) > before
  }, "nothing is heard")
}

const carriers: readonly [string, () => Promise<Daemon>, (server: Daemon) => object][] = [
  ["redis", redisServer, ({ port }) => ({ redis: { url: `redis://127.0.0.1:${port}` } })],
  ["nats", natsServer, ({ port }) => ({ nats: { servers: `127.0.0.1:${port}` } })],
]

for (const [name, open, where] of carriers) {
  test(`${name}: what passes one gateway is missing at the other, by key; away, each limits by itself`, async (t) => {
    const server = await open()
    t.teardown(() => server.close())
    const gateways = await Promise.all([1, 2].map(() => runGateway(config(where(server)))))
    t.teardown(() => Promise.all(gateways.map((gateway) => gateway.stop())))
    const [here, there] = gateways as [Running, Running]
    await isHeard(here, there)
    t.is(await passed(here, "/shared", "a", 4), 4)
    await isHeard(here, there)
    t.is(await passed(there, "/shared", "a", 6), 2, "of six, four passed elsewhere")
    t.is(await passed(there, "/shared", "other", 6), 6, "another key")
    t.is(await passed(here, "/own", "a", 6), 6)
    t.is(await passed(there, "/own", "a", 6), 6, "that is not shared")

    await server.fail()
    await until(() => /rateLimits: \w+ failed, this gateway limits by itself/.test(there.output()), there.output())
    t.is(await passed(here, "/shared", "b", 9), 6)
    t.is(await passed(there, "/shared", "b", 9), 6)
    await until(async () => (await messages(here, "failed")) > 0, "it is not counted")

    await server.mend()
    await isHeard(here, there)
    t.is(await passed(here, "/shared", "c", 6), 6)
    await isHeard(here, there)
    t.is(await passed(there, "/shared", "c", 1), 0)
  })
}

test("a shared limit without a place to share it is a problem, and so are two places", (t) => {
  const use = [{ rateLimit: { perSecond: 1, shared: true } }]
  const routes = [{ when: { path: "/a" }, to: answer, use }]
  t.throws(() => loadData({ routes }), { message: /rateLimit.shared: say where it is shared/ })
  const both = { redis: { url: "redis://a" }, nats: { servers: "a" } }
  t.throws(() => loadData({ routes, rateLimits: both }), { message: /say either "redis" or "nats"/ })
  t.notThrows(() => loadData({ routes, rateLimits: { redis: { url: "redis://a" } } }))
})
