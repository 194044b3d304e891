/** `limits.shedLoopLagMs`: while the event loop of policies and handlers is late nobody waits for it. */
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { request } from "undici"
import { type Running, runGateway } from "./run-gateway.ts"

let gateway: Running

ava.before(async () => {
  gateway = await runGateway(`
import { defineConfig, defineHandler, definePolicy, handler, path } from "tidegate"
const blocks = defineHandler({
  name: "blocks",
  deadlineMs: 10_000,
  handle: () => {
    for (const end = Date.now() + 850; Date.now() < end; );
    return { status: 200, body: "blocked" }
  },
})
const waits = defineHandler({
  name: "waits",
  deadlineMs: 10_000,
  handle: async () => {
    await new Promise((resolve) => setTimeout(resolve, 800))
    return { status: 200, body: "waited" }
  },
})
const quick = defineHandler({ name: "quick", deadlineMs: 10_000, handle: () => ({ status: 200, body: "quick" }) })
const asks = definePolicy({ name: "asks", deadlineMs: 10_000, fallback: "continue", decide: () => "continue" })
export default defineConfig({
  workers: 1,
  admin: { address: "127.0.0.1:0" },
  listeners: [{ address: "tcp://127.0.0.1:0" }],
  limits: { shedLoopLagMs: 200 },
  routes: [
    { when: path("/blocks"), to: handler(blocks) },
    { when: path("/waits"), to: handler(waits) },
    { when: path("/quick"), to: handler(quick) },
    { when: path("/policy"), to: { respond: { body: "policy" } }, use: [asks()] },
    { when: path("/plain"), to: { respond: { body: "plain" } } },
  ],
})`)
})

ava.after.always(() => gateway?.stop())

async function get(path: string) {
  const began = performance.now()
  const { statusCode, headers, body } = await request(`http://127.0.0.1:${gateway.port}${path}`)
  return { status: statusCode, text: await body.text(), retry: headers["retry-after"], ms: performance.now() - began }
}

ava.serial("a function that waits for others is not late", async (t) => {
  const waiting = get("/waits")
  await sleep(500)
  t.is((await get("/quick")).text, "quick")
  t.is((await waiting).text, "waited")
})

ava.serial("what needs JavaScript is turned away at once while it is late, the rest is answered", async (t) => {
  const blocked = get("/blocks")
  await sleep(100)
  // The first one that finds nobody waits: nothing is known of it yet.
  const first = get("/quick")
  await sleep(350)
  const shed = await get("/quick")
  t.deepEqual([shed.status, shed.retry], [503, "1"])
  t.true(shed.ms < 150, `${shed.ms} ms`)
  const policy = await get("/policy")
  t.is(policy.text, "policy", "the policy's fallback")
  t.true(policy.ms < 150, `${policy.ms} ms`)
  t.is((await get("/plain")).text, "plain")
  t.is((await blocked).text, "blocked")
  t.is((await first).text, "quick")
  t.is((await get("/quick")).text, "quick", "in time again")
  const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
  t.regex(metrics, /tidegate_dropped_total\{protocol="internal",reason="shed-loop-lag"\} 2/)
})
