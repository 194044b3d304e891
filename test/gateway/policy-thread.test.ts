/**
 * Policies in their own thread, through the addon: one that throws, never answers,
 * loops for ever or returns rubbish costs its fallback, and everything else goes on.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test, { type ExecutionContext } from "ava"
import { loadConfig } from "../../src/config/index.ts"
import { createLoadedGateway, PolicyThreadHost } from "../../src/gateway/index.ts"
import { until } from "./start.ts"
import { withAddon } from "./with-addon.ts"

const CONFIG = `
import { defineConfig, defineHandler, definePolicy, handler, path, respond } from "tidegate"
const loops = definePolicy({
  name: "loops",
  deadlineMs: 20,
  decide: ({ path }) => {
    if (path === "/loop") for (;;);
    return { setHeaders: { "x-seen": "1" } }
  },
})
const throws = definePolicy({ name: "throws", deadlineMs: 5_000, fallback: "reject", decide: () => { throw new Error("boom") } })
const never = definePolicy({ name: "never", deadlineMs: 20, fallback: "reject", decide: () => new Promise(() => {}) })
const rubbish = definePolicy({ name: "rubbish", deadlineMs: 5_000, fallback: "reject", decide: () => 5 as never })
const refuses = definePolicy({ name: "refuses", deadlineMs: 5_000, decide: () => ({ reject: { status: 418, body: "teapot" } }) })
const echo = defineHandler({ name: "echo", handle: (message) => ({ status: 201, body: message.text() }) })
export default defineConfig({
  workers: 1, dataDir: false, admin: false,
  listeners: [{ address: "tcp://127.0.0.1:0" }],
  routes: [
    { when: path("/plain"), to: respond(200, "plain") },
    { when: path("/loop"), to: respond(200, "loop"), use: [loops()] },
    { when: path("/ok"), to: respond(200, "ok"), use: [loops()] },
    { when: path("/throws"), to: respond(200, "no"), use: [throws()] },
    { when: path("/never"), to: respond(200, "no"), use: [never()] },
    { when: path("/rubbish"), to: respond(200, "no"), use: [rubbish()] },
    { when: path("/refuses"), to: respond(200, "no"), use: [refuses()] },
    { when: path("/echo"), to: handler(echo) },
  ],
})
`

/** From source the loader hooks of Node 20 do not survive the end of a thread that loops. */
const entry = new URL("../../dist/gateway/policy-thread.js", import.meta.url)

async function open(t: ExecutionContext) {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  const file = join(folder, "tidegate.config.ts")
  writeFileSync(file, CONFIG)
  const loaded = await loadConfig(file)
  const log: string[] = []
  const gateway = createLoadedGateway(loaded, {
    policyHost: (context) => new PolicyThreadHost(context, { file, stuckMs: 1_000, entry }),
  })
  gateway.on("log", ({ text }) => log.push(text))
  await gateway.start()
  t.teardown(async () => {
    await gateway.close()
    rmSync(folder, { recursive: true })
  })
  const base = `http://${gateway.stats().listeners[0]?.address}`
  const call = async (path: string, body?: string) => {
    const response = await fetch(`${base}${path}`, body === undefined ? {} : { method: "POST", body })
    return [response.status, await response.text()] as const
  }
  return { call, gateway, log, file, loaded }
}

withAddon("a policy decides in its thread, and its fallback holds when it fails", async (t) => {
  const { call } = await open(t)
  t.deepEqual(await call("/ok"), [200, "ok"])
  t.deepEqual(await call("/refuses"), [418, "teapot"])
  for (const path of ["/throws", "/never", "/rubbish"]) t.is((await call(path))[0], 503, path)
  t.deepEqual(await call("/plain"), [200, "plain"])
})

withAddon("a policy that loops for ever is replaced, and nothing else stops meanwhile", async (t) => {
  const { call, log } = await open(t)
  t.deepEqual(await call("/loop"), [200, "loop"])
  t.deepEqual(await call("/plain"), [200, "plain"])
  await until(() => log.some((text) => text.includes('stood still in "loops"')))
  let status = 0
  while (status !== 418) status = (await call("/refuses"))[0]
  t.is(status, 418)
})

withAddon("another configuration gets another thread, and requests go on all the while", async (t) => {
  const { call, gateway, loaded } = await open(t)
  let running = true
  const statuses = new Set<number>()
  const traffic = (async () => {
    while (running) statuses.add((await call("/ok"))[0])
  })()
  for (let change = 0; change < 3; change++) await gateway.reload(loaded)
  running = false
  await traffic
  t.deepEqual([...statuses], [200])
  t.is((await call("/refuses"))[0], 418)
})

withAddon("a handler answers with what it got", async (t) => {
  const { call } = await open(t)
  t.deepEqual(await call("/echo", "hello"), [201, "hello"])
})

test("a configuration whose policies do not load is refused", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  const file = join(folder, "tidegate.config.ts")
  writeFileSync(file, "\nthrow new Error('no')\n")
  const error = await t.throwsAsync(loadConfig(file), { code: "CONFIG_INVALID" })
  t.regex(error?.message ?? "", /no/)
})
