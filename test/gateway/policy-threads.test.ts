/** Several policy threads: each connection is always asked about in the same one, and one that stands still costs the others nothing. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { Agent, get } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { ExecutionContext } from "ava"
import { loadConfig } from "../../src/config/index.ts"
import { createLoadedGateway, type Gateway, PolicyThreadHost } from "../../src/gateway/index.ts"
import { withAddon } from "./with-addon.ts"

const CONFIG = `
import { threadId } from "node:worker_threads"
import { defineConfig, defineHandler, definePolicy, handler, path, respond } from "tidegate"
const names = definePolicy({ name: "names", deadlineMs: 1_000, fallback: "reject", decide: () => ({ reject: { status: 451, body: String(threadId) } }) })
const stands = definePolicy({ name: "stands", deadlineMs: 100, fallback: "reject", decide: () => { for (;;); } })
const says = defineHandler({ name: "says", handle: () => ({ status: 200, body: String(threadId) }) })
export default defineConfig({
  workers: 4, policyThreads: 2, dataDir: false, admin: false,
  listeners: [{ address: "tcp://127.0.0.1:0" }],
  routes: [
    { when: path("/names"), to: respond(200, "no"), use: [names()] },
    { when: path("/stands"), to: respond(200, "no"), use: [stands()] },
    { when: path("/says"), to: handler(says) },
  ],
})
`
const entry = new URL("../../dist/gateway/policy-thread.js", import.meta.url)

async function open(t: ExecutionContext): Promise<{ gateway: Gateway; log: string[]; reload: () => Promise<void> }> {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  const file = join(folder, "tidegate.config.ts")
  writeFileSync(file, CONFIG)
  const log: string[] = []
  const gateway = createLoadedGateway(await loadConfig(file), {
    policyHost: (context) => new PolicyThreadHost(context, { file, stuckMs: 500, entry }),
  })
  gateway.on("log", ({ text }) => log.push(text))
  await gateway.start()
  t.teardown(async () => {
    await gateway.close()
    rmSync(folder, { recursive: true, force: true })
  })
  return { gateway, log, reload: async () => gateway.reload(await loadConfig(file)) }
}

/** A connection of its own; each call of it goes over that one. */
function connection(t: ExecutionContext, gateway: Gateway): (path: string) => Promise<string> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.teardown(() => agent.destroy())
  const [host = "", port] = (gateway.stats().listeners[0]?.address ?? "").split(":")
  return (path) =>
    new Promise((resolve, reject) => {
      const call = get({ agent, host, port, path }, (answer) => {
        let body = ""
        answer.setEncoding("utf8").on("data", (text) => {
          body += text
        })
        answer.on("end", () => resolve(`${answer.statusCode} ${body}`))
      })
      call.on("error", reject)
    })
}

withAddon("each connection has its thread, for policies and handlers alike, and all threads have some", async (t) => {
  const { gateway } = await open(t)
  const seen = new Set<string>()
  for (let n = 0; n < 40; n++) {
    const ask = connection(t, gateway)
    const [first, second, handled] = [await ask("/names"), await ask("/names"), await ask("/says")]
    t.regex(first, /^451 \d+$/)
    t.is(first, second)
    t.is(handled, first.replace("451", "200"))
    seen.add(first)
  }
  t.is(seen.size, 2)
})

withAddon(
  "a thread that stands still is replaced alone; connections of the other one are decided meanwhile",
  async (t) => {
    const { gateway, log } = await open(t)
    const asks = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const ask = connection(t, gateway)
        return { ask, thread: await ask("/names") }
      }),
    )
    const [first] = asks
    const other = asks.find(({ thread }) => thread !== first?.thread)
    if (first === undefined || other === undefined) return t.fail("one thread only")
    t.regex(await first.ask("/stands"), /^503 /)
    for (let n = 0; n < 10; n++)
      t.is(await other.ask("/names"), other.thread, "the other thread is the same, and answers")
    for (const end = Date.now() + 10_000; !/^451 /.test(await first.ask("/names")); await sleep(50))
      t.true(Date.now() < end)
    t.not(await first.ask("/names"), first.thread)
    t.is(log.filter((line) => line.includes("stood still")).length, 1)
  },
)

withAddon("a change brings new threads to all, and no question is without an answer", async (t) => {
  const { gateway, reload } = await open(t)
  const asks = Array.from({ length: 8 }, () => connection(t, gateway))
  const seen = new Set<string>()
  let isOver = false
  const asking = asks.map(async (ask) => {
    while (!isOver) seen.add(await ask("/names"))
  })
  await sleep(100)
  const before = new Set(seen)
  await reload()
  await sleep(200)
  isOver = true
  await Promise.all(asking)
  t.true(
    [...seen].every((answer) => /^451 \d+$/.test(answer)),
    [...seen].join(),
  )
  t.true(seen.size > before.size)
})
