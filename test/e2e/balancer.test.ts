/** Balancers in TypeScript under the real command: what they see, what they pick, and what holds when they fail. */
import type { IncomingMessage, ServerResponse } from "node:http"
import ava from "ava"
import { type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running
const servers: Awaited<ReturnType<typeof upstream>>[] = []
/** Answers that wait for a word of the test. */
const waiting: ServerResponse[] = []

ava.before(async () => {
  for (const name of ["one", "two", "three"]) {
    const answer = ({ url }: IncomingMessage, response: ServerResponse) => {
      if (url === "/busy/wait") waiting.push(response)
      else response.end(name)
    }
    servers.push(await upstream(answer))
  }
  const endpoints = JSON.stringify(servers.map(({ address }) => address))
  gateway = await runGateway(`
import { defineBalancer, defineConfig, definePolicy, path } from "tidegate"

const byName = defineBalancer({
  name: "by-name",
  deadlineMs: 5_000,
  reads: [{ header: "x-endpoint" }],
  pick: (message, endpoints) => {
    const wish = message.header("x-endpoint")
    if (wish === "throw") throw new Error("no idea")
    if (wish === "last") return endpoints.at(-1)?.id
    return wish
  },
})
const idlest = defineBalancer({
  name: "idlest",
  deadlineMs: 5_000,
  pick: async (_, endpoints) => endpoints.toSorted((a, b) => a.active - b.active).at(0)?.id,
})
const first = definePolicy({ name: "first", deadlineMs: 5_000, decide: () => ({ setHeaders: { "x-first": "1" } }) })
const endpoints = ${endpoints}

export default defineConfig({
  workers: 2,
  admin: { address: "127.0.0.1:0" },
  listeners: [{ address: "tcp://127.0.0.1:0" }, { address: "udp://127.0.0.1:0", protocols: ["coap"] }],
  upstreams: { named: { endpoints, balance: byName }, idle: { endpoints, balance: idlest } },
  routes: [
    { when: path("/named/**"), to: "named", use: [first()] },
    { when: path("/busy/**"), to: "idle" },
  ],
})
`)
})
ava.after.always(async () => {
  await gateway?.stop()
  for (const { server } of servers) {
    server.closeAllConnections()
    server.close()
  }
})

async function ask(path: string, endpoint?: string): Promise<string> {
  const headers: Record<string, string> = endpoint === undefined ? {} : { "x-endpoint": endpoint }
  const answer = await fetch(`http://127.0.0.1:${gateway.port}${path}`, { headers })
  return answer.status === 200 ? answer.text() : String(answer.status)
}

async function calls(policy: string, outcome: string): Promise<number> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  const row = text.split("\n").find((line) => line.includes(`policy="${policy}"`) && line.includes(`"${outcome}"`))
  return Number(row?.split(" ").at(-1) ?? 0)
}

test("the endpoint that it picks gets the request", async (t) => {
  for (let turn = 0; turn < 5; turn++) {
    t.is(await ask("/named/a", servers[1]?.address), "two")
    t.is(await ask("/named/a", servers[0]?.address), "one")
  }
  t.is(await ask("/named/a", "last"), "three")
  t.is(await calls("by-name", "decided"), 11)
})

test("where it picks nobody, somebody unknown, or throws, native picks", async (t) => {
  for (const wish of [undefined, "127.0.0.1:1", "throw"]) t.regex(await ask("/named/a", wish), /^(one|two|three)$/)
  t.is(await calls("by-name", "error"), 1)
})

test("it sees what is under way", async (t) => {
  const held = ["a", "b"].map(() => ask("/busy/wait"))
  for (const end = Date.now() + 10_000; waiting.length < 2 && Date.now() < end; )
    await new Promise((resolve) => setTimeout(resolve, 15))
  // Two of the three are busy by now, or one of them twice; the idle one is the one that answers.
  await new Promise((resolve) => setTimeout(resolve, 30))
  const list = (await (await fetch(`${gateway.admin}/v1/upstreams`)).json()) as {
    items: { name: string; endpoints: { address: string; active: number }[] }[]
  }
  const own = list.items.find(({ name }) => name === "idle")?.endpoints ?? []
  const idle = own.filter(({ active }) => active === 0).map(({ address }) => address)
  const names = servers.map(({ address }, index) => (idle.includes(address) ? ["one", "two", "three"][index] : null))
  for (let turn = 0; turn < 6; turn++) t.true(names.includes(await ask("/busy/now")), JSON.stringify(own))
  for (const response of waiting) response.end("late")
  t.deepEqual(await Promise.all(held), ["late", "late"])
})

test("CoAP requests are balanced by it too", async (t) => {
  const before = await calls("idlest", "decided")
  const { run, has } = await import("./run-gateway.ts")
  if (!has("coap-client-notls", "libcoap3-bin")) return t.pass()
  const { out } = await run("coap-client-notls", [`coap://127.0.0.1:${gateway.udpPort}/busy/now`])
  t.regex(out, /one|two|three/)
  t.is((await calls("idlest", "decided")) - before, 1)
})
