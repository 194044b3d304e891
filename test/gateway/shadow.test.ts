/** Versions in shadow: run beside the one that decides, through the addon, in the calling thread and in a thread of their own. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import test, { type ExecutionContext } from "ava"
import { createAdmin } from "../../src/admin/index.ts"
import { loadConfig } from "../../src/config/index.ts"
import { createLoadedGateway, type Gateway, PolicyThreadHost } from "../../src/gateway/index.ts"
import { createGateway, definePolicy, type PolicyDefinition, path, respond } from "../../src/index.ts"
import type { PolicyInfo } from "../../src/model/shadow.ts"
import { withAddon } from "./with-addon.ts"

type Declared = Omit<PolicyDefinition, "name">

const LISTENERS = [{ address: "tcp://127.0.0.1:0" }]

async function open(t: ExecutionContext, policy: Declared): Promise<Gateway> {
  const declared = definePolicy({ name: "tenant", deadlineMs: 5_000, ...policy })
  const gateway = await createGateway({
    workers: 1,
    admin: false,
    dataDir: false,
    listeners: LISTENERS,
    routes: [{ when: path("/**"), to: respond(200, "ok"), use: [declared()] }],
  })
  await gateway.start()
  t.teardown(() => gateway.close())
  return gateway
}

const ask = (gateway: Gateway, to: string, init: RequestInit = {}) =>
  fetch(`http://${gateway.stats().listeners[0]?.address}${to}`, init)

/** The one policy, once as many of its verdicts have been looked at. */
async function looked(gateway: Gateway, count: number): Promise<NonNullable<PolicyInfo["shadow"]>> {
  for (const end = Date.now() + 5_000; ; await sleep(20)) {
    const shadow = gateway.stats().policies[0]?.shadow
    if (shadow && shadow.same + shadow.differs + shadow.error + shadow.skipped >= count) return shadow
    if (Date.now() > end) throw new Error(`only ${JSON.stringify(shadow)}`)
  }
}

withAddon(
  "what differs is counted, kept with its message and logged; what holds is the version that decides",
  async (t) => {
    const gateway = await open(t, {
      version: "1",
      decide: (message) => (message.path === "/no" ? { reject: { status: 451 } } : undefined),
      shadow: {
        version: "2",
        decide: async (message) => {
          if (message.path === "/throws") throw new Error("not ready")
          return message.path === "/ok" ? undefined : { reject: { status: 403 } }
        },
      },
    })
    const log: string[] = []
    gateway.on("log", ({ text }) => log.push(text))
    const codes = []
    for (const to of ["/ok", "/no", "/new", "/throws"]) codes.push((await ask(gateway, to)).status)
    t.deepEqual(codes, [200, 451, 200, 200], "nothing that the shadow says reaches a message")
    const shadow = await looked(gateway, 4)
    t.like(shadow, { version: "2", same: 1, differs: 2, error: 1, skipped: 0 })
    t.like(shadow.differences[0], {
      message: { path: "/no", method: "GET" },
      verdict: { action: "reject", status: 451 },
      shadow: { action: "reject", status: 403 },
      error: null,
    })
    t.like(shadow.differences.at(-1), { message: { path: "/throws" }, shadow: null, error: "not ready" })
    t.true(
      log.some((line) => line.includes('policy "tenant": its version in shadow differs')),
      log.join(),
    )
    t.is(gateway.stats().policies[0]?.version, "1")
  },
)

withAddon("the admin API and the metrics have it", async (t) => {
  const gateway = await open(t, { decide: () => undefined, shadow: { decide: () => "reject" } })
  for (let n = 0; n < 3; n++) await ask(gateway, "/a")
  await looked(gateway, 3)
  const admin = { host: "127.0.0.1", port: 0, token: null, readToken: null, readers: [], tls: null, hosts: [] }
  const app = await createAdmin(admin, gateway, null)
  t.teardown(() => app.close())
  const get = (url: string) => app.inject({ url, headers: { host: "127.0.0.1:7001" } })
  const { items } = (await get("/v1/policies")).json() as { items: unknown[] }
  t.like(items[0], {
    name: "tenant",
    version: null,
    calls: { decided: 3 },
    shadow: { version: null, differs: 3, same: 0 },
  })
  t.regex((await get("/metrics")).body, /tidegate_policy_shadow_total\{policy="tenant",outcome="differs"\} 3/)
})

withAddon("a shadow that is slow delays nobody, and sees the payload that the policy declared", async (t) => {
  const seen: (string | null)[] = []
  const block = new Int32Array(new SharedArrayBuffer(4))
  const policy = definePolicy({
    name: "tenant",
    deadlineMs: 5_000,
    reads: () => ["payload"],
    decide: () => undefined,
    shadow: {
      decide: (message) => {
        seen.push(message.text())
        Atomics.wait(block, 0, 0, 100)
        return undefined
      },
    },
  })
  const gateway = await createGateway({
    workers: 1,
    admin: false,
    dataDir: false,
    listeners: LISTENERS,
    broker: { hooks: { onPublish: [policy()] } },
  })
  await gateway.start()
  t.teardown(() => gateway.close())
  t.is(await gateway.publish("a", "what it was"), "no-subscribers")
  t.like(await looked(gateway, 1), { same: 1 })
  t.deepEqual(seen, ["what it was"])
})

withAddon(
  "another version takes over without a moment in which none decides, and its shadow begins anew",
  async (t) => {
    const config = (version: string, status: number, shadow: string) => {
      const policy = definePolicy({
        name: "tenant",
        deadlineMs: 5_000,
        fallback: "reject",
        version,
        decide: () => ({ reject: { status } }),
        shadow: { version: shadow, decide: () => ({ reject: { status: 499 } }) },
      })
      const routes = [{ when: path("/**"), to: respond(200, "ok"), use: [policy()] }]
      return { workers: 1, admin: false as const, dataDir: false as const, listeners: LISTENERS, routes }
    }
    const gateway = await createGateway(config("1", 451, "2"))
    await gateway.start()
    t.teardown(() => gateway.close())
    const codes = new Set<number>()
    let asks = true
    const asking = (async () => {
      while (asks) codes.add((await ask(gateway, "/a")).status)
    })()
    await sleep(100)
    for (const version of ["2", "3", "4"]) await gateway.reload(config(version, version === "4" ? 452 : 451, "next"))
    await sleep(100)
    asks = false
    await asking
    t.deepEqual([...codes].sort(), [451, 452], "never the fallback's 503")
    t.like(gateway.stats().policies[0], { version: "4", shadow: { version: "next" } })
  },
)

withAddon("a policy in the thread of its own is shadowed there", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  const file = join(folder, "tidegate.config.ts")
  writeFileSync(
    file,
    `import { defineConfig, definePolicy, path, respond } from "tidegate"
const policy = definePolicy({ name: "tenant", deadlineMs: 5_000, version: "1", decide: () => undefined,
  shadow: { version: "2", decide: ({ path }) => path === "/b" ? "reject" : undefined } })
export default defineConfig({ workers: 1, dataDir: false, admin: false, listeners: [{ address: "tcp://127.0.0.1:0" }],
  routes: [{ when: path("/**"), to: respond(200, "ok"), use: [policy()] }] })`,
  )
  const entry = new URL("../../dist/gateway/policy-thread.js", import.meta.url)
  const gateway = createLoadedGateway(await loadConfig(file), {
    policyHost: (context) => new PolicyThreadHost(context, { file, entry }),
  })
  await gateway.start()
  t.teardown(async () => {
    await gateway.close()
    rmSync(folder, { recursive: true, force: true })
  })
  for (const to of ["/a", "/b"]) t.is((await ask(gateway, to)).status, 200)
  t.like(await looked(gateway, 2), { version: "2", same: 1, differs: 1 })
})

test("a shadow is a function", (t) => {
  const declare = () => definePolicy({ name: "p", decide: () => undefined, shadow: {} as never })
  t.like(t.throws(declare), { code: "POLICY_INVALID" })
})
