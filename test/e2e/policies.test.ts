/**
 * Policies and handlers of a TypeScript config under the real command: each rung of
 * the ladder, and everything user code can do wrong. What fails costs a counter and
 * its fallback; other traffic and the admin API go on.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import ava, { type ExecutionContext } from "ava"
import mqtt from "mqtt"
import { policiesConfig } from "./policies-config.ts"
import { type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
let servers: Awaited<ReturnType<typeof upstream>>[] = []
/** Requests of handlers that wait for a word of the test. */
const waiting: ServerResponse[] = []

ava.before(async () => {
  const api = await upstream(tell("api"))
  const beta = await upstream(tell("beta"))
  const gate = await upstream((_, response) => waiting.push(response))
  servers = [api, beta, gate]
  gateway = await runGateway(policiesConfig({ api: api.address, beta: beta.address, gate: gate.address }))
})
ava.after.always(async () => {
  await gateway?.stop()
  for (const { server } of servers) {
    server.closeAllConnections()
    server.close()
  }
})

function tell(name: string) {
  return ({ url, headers }: IncomingMessage, response: ServerResponse) => {
    response.end(JSON.stringify({ name, url, tenant: headers["x-seen"] ?? null }))
  }
}

async function call(path: string, init: RequestInit = {}): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${gateway.port}${path}`, init)
  return { status: response.status, text: await response.text() }
}

const asTenant = (tenant: string): RequestInit => ({ headers: { "x-tenant": tenant } })

/** One counter of a policy, from the scrape. */
async function calls(policy: string, outcome: string): Promise<number> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  const line = text
    .split("\n")
    .find(
      (row) =>
        row.startsWith("tidegate_policy_calls_total{") && row.includes(`"${policy}"`) && row.includes(`"${outcome}"`),
    )
  return Number(line?.split(" ").at(-1) ?? 0)
}

/** Runs `act` and says by how much a counter grew. */
async function growth(policy: string, outcome: string, act: () => Promise<unknown>): Promise<number> {
  const before = await calls(policy, outcome)
  await act()
  return (await calls(policy, outcome)) - before
}

/** Everything else answers within half a second. */
async function othersGoOn(t: ExecutionContext): Promise<void> {
  const began = performance.now()
  t.deepEqual(await call("/plain"), { status: 200, text: "plain" })
  t.is((await fetch(`${gateway.admin}/ready`)).status, 200)
  t.true(performance.now() - began < 500)
}

test("a request that the filter does not match never reaches the policy", async (t) => {
  t.is(await growth("tenant", "filtered", () => call("/tenant/a")), 1)
  t.deepEqual(JSON.parse((await call("/tenant/a")).text), { name: "api", url: "/tenant/a", tenant: null })
})

test("a decision sets a header, rejects, or sends to another upstream", async (t) => {
  const seen = JSON.parse((await call("/tenant/a", asTenant("acme"))).text)
  t.deepEqual(seen, { name: "api", url: "/tenant/a", tenant: "acme" })
  t.deepEqual(await call("/tenant/a", asTenant("blocked")), { status: 403, text: "not you" })
  t.like(JSON.parse((await call("/tenant/a", asTenant("beta"))).text), { name: "beta" })
  t.like(JSON.parse((await call("/moved/x", asTenant("acme"))).text), { url: "/elsewhere" })
})

test("a verdict that is known is not asked for again", async (t) => {
  const ask = async () => {
    for (let request = 0; request < 10; request++) await call("/cached", asTenant("again"))
  }
  const cached = await growth("cached", "cached", ask)
  // Each of the two workers asks once at most.
  t.true(cached >= 8, `${cached} of 10`)
  t.true((await calls("cached", "decided")) <= 2)
})

for (const [policy, outcome, what] of [
  ["throws", "error", "throws"],
  ["rejects", "error", "rejects its promise"],
  ["never", "timeout", "never answers"],
  ["rubbish", "error", "returns rubbish"],
] as const) {
  test(`a policy that ${what} costs its fallback and a counter`, async (t) => {
    const grown = await growth(policy, outcome, async () => {
      t.is((await call(`/${policy}/refuse`)).status, 503)
    })
    t.is(grown, 1)
    t.deepEqual(await call(`/${policy}/pass`), { status: 200, text: "passed" })
    await othersGoOn(t)
  })
}

test("a policy that loops for ever is replaced by the watchdog, and everything else goes on", async (t) => {
  const grown = await growth("loops", "timeout", async () => {
    t.deepEqual(await call("/loops/pass"), { status: 200, text: "passed" })
    await othersGoOn(t)
  })
  t.is(grown, 1)
  for (const end = Date.now() + 20_000; !/stood still in ..?loops/.test(gateway.output()); await sleep(20)) {
    if (Date.now() > end) return t.fail(gateway.output())
    t.deepEqual(await call("/plain"), { status: 200, text: "plain" })
  }
  // The new thread decides again.
  let status = 0
  for (const end = Date.now() + 20_000; status !== 403 && Date.now() < end; await sleep(20)) {
    status = (await call("/tenant/new", asTenant("blocked"))).status
  }
  t.is(status, 403)
  await othersGoOn(t)
})

test("a handler gets the request and its answer is the response", async (t) => {
  const response = await fetch(`http://127.0.0.1:${gateway.port}/echo/a?b=c`, { method: "POST", body: "hello" })
  t.is(response.status, 201)
  t.is(response.headers.get("x-by"), "echo")
  t.deepEqual(await response.json(), { method: "POST", path: "/echo/a", query: "b=c", body: "hello" })
})

test("a handler that throws is a 500, one that is too slow a 504, a body too large a 413", async (t) => {
  t.is((await call("/breaks")).status, 500)
  t.is((await call("/slow")).status, 504)
  t.is((await call("/echo/a", { method: "POST", body: "x".repeat(2_000) })).status, 413)
  await othersGoOn(t)
})

test("a message is acknowledged when its handler is done, and not before", async (t) => {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, {
    protocolVersion: 5,
    clientId: "handled",
  })
  const acknowledged = client.publishAsync("handled/a", "21.5", { qos: 1 })
  for (const end = Date.now() + 5_000; waiting.length === 0 && Date.now() < end; ) await sleep(5)
  let isDone = false
  void acknowledged.then(() => {
    isDone = true
  })
  t.is(waiting.length, 1)
  // Whatever is asked later is answered before: only this connection waits.
  await othersGoOn(t)
  t.false(isDone)
  waiting.pop()?.end("ok")
  await acknowledged
  const refused = await t.throwsAsync(client.publishAsync("refused/a", "x", { qos: 1 }))
  t.true((refused as { code?: number }).code !== undefined && Number((refused as { code?: number }).code) >= 0x80)
  await client.endAsync()
})

test("a client that is kicked hears why", async (t) => {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, {
    protocolVersion: 5,
    clientId: "kicked",
    reconnectPeriod: 0,
  })
  const goodbye = new Promise<number | undefined>((resolve) => {
    client.on("disconnect", ({ reasonCode }) => resolve(reasonCode))
  })
  const url = `${gateway.admin}/v1/mqtt/clients/kicked`
  t.is((await fetch(url, { method: "DELETE" })).status, 204)
  t.is(await goodbye, 0x98)
  t.is((await fetch(url, { method: "DELETE" })).status, 404)
})

test("a reload leaves no moment without a policy", async (t) => {
  let isOver = false
  const statuses = new Set<number>()
  const traffic = (async () => {
    while (!isOver) statuses.add((await call("/tenant/r", asTenant("blocked"))).status)
  })()
  for (let change = 0; change < 3; change++) {
    const before = Number(
      /tidegate_config_version (\d+)/.exec(await (await fetch(`${gateway.admin}/metrics`)).text())?.[1],
    )
    gateway.process.kill("SIGHUP")
    for (const end = Date.now() + 10_000; Date.now() < end; await sleep(20)) {
      const text = await (await fetch(`${gateway.admin}/metrics`)).text()
      if (Number(/tidegate_config_version (\d+)/.exec(text)?.[1]) > before) break
    }
  }
  isOver = true
  await traffic
  t.deepEqual([...statuses], [403])
})
