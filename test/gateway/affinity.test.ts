/** Session affinity by a cookie that the gateway sets, preferred zones with what spills over, subsets with a fallback. */
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import test, { type ExecutionContext } from "ava"
import { createGateway, type Gateway } from "../../src/index.ts"

/** A service that says its number; its health can be taken away. */
async function origin(t: ExecutionContext, name: string) {
  const state = { isHealthy: true, name, address: "" }
  const server = createServer((request, response) => {
    if (request.url === "/healthz" && !state.isHealthy) response.writeHead(503).end()
    else response.end(name)
  })
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => server.close())
  state.address = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return state
}

async function start(t: ExecutionContext, upstream: object): Promise<{ gateway: Gateway; url: string }> {
  const gateway = await createGateway({
    workers: 2,
    admin: false,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0" }],
    upstreams: { api: upstream },
    routes: [{ when: { path: "/**" }, to: "api" }],
  })
  await gateway.start()
  t.teardown(() => gateway.close())
  return { gateway, url: `http://${gateway.stats().listeners[0]?.address}/` }
}

async function ask(url: string, cookie?: string): Promise<{ from: string; cookie: string | null }> {
  const answer = await fetch(url, cookie === undefined ? {} : { headers: { cookie } })
  return { from: await answer.text(), cookie: answer.headers.get("set-cookie") }
}

async function shares(url: string, count: number): Promise<Map<string, number>> {
  const seen = new Map<string, number>()
  for (let n = 0; n < count; n++) {
    const { from } = await ask(url)
    seen.set(from, (seen.get(from) ?? 0) + 1)
  }
  return seen
}

const HEALTH = { http: "/healthz", intervalMs: 20, timeoutMs: 500, rise: 1, fall: 1 }

test("who has no cookie gets one, once, and stays with its endpoint by it; others spread", async (t) => {
  const origins = await Promise.all(["a", "b", "c"].map((name) => origin(t, name)))
  const set = { ttlS: 3600, path: "/", httpOnly: true, sameSite: "strict" }
  const { url } = await start(t, {
    endpoints: origins.map(({ address }) => address),
    balance: { consistentHash: { cookie: "stay", set } },
  })
  const first = await ask(url)
  t.regex(first.cookie ?? "", /^stay=[0-9a-f]{32}; Max-Age=3600; Path=\/; HttpOnly; SameSite=Strict$/)
  const cookie = first.cookie?.split(";")[0]
  for (let n = 0; n < 20; n++) {
    const again = await ask(url, `other=1; ${cookie}`)
    t.deepEqual(again, { from: first.from, cookie: null }, "the same endpoint, on any worker, and no cookie again")
  }
  const seen = await shares(url, 60)
  t.is(seen.size, 3, "clients without a cookie are spread")
  t.true((await ask(url, "stay=")).cookie !== null, "an empty one is none")
})

test("a cookie of TLS only where the client came by TLS, and always with SameSite=None; without a name it is refused", async (t) => {
  const [service] = await Promise.all([origin(t, "a")])
  const of = async (set: object) => {
    const balance = { consistentHash: { cookie: "stay", set } }
    return (await ask((await start(t, { endpoints: [service.address], balance })).url)).cookie
  }
  t.regex((await of({ sameSite: "none" })) ?? "", /; Path=\/; HttpOnly; SameSite=None; Secure$/)
  t.regex((await of({ httpOnly: false, secure: true })) ?? "", /=[0-9a-f]{32}; Path=\/; SameSite=Lax; Secure$/)
  const nameless = start(t, {
    endpoints: [service.address],
    balance: { consistentHash: { by: "clientIp", set: true } },
  })
  t.like(await t.throwsAsync(nameless), { code: "CONFIG_INVALID" })
})

test("the preferred zone gets everything while enough of it is healthy, then the rest spills over", async (t) => {
  const near = await Promise.all(["n1", "n2"].map((name) => origin(t, name)))
  const far = await Promise.all(["f1", "f2"].map((name) => origin(t, name)))
  const endpoints = [
    ...near.map(({ address }) => ({ address, zone: "here" })),
    ...far.map(({ address }) => ({ address, zone: "there" })),
  ]
  const { url } = await start(t, { endpoints, preferZone: "here", health: HEALTH, panicPercent: 0 })
  const all = await shares(url, 20)
  t.deepEqual([...all.keys()].sort(), ["n1", "n2"])
  const [sick] = near
  if (sick !== undefined) sick.isHealthy = false
  // One of two: 50 % times 1.4 stays.
  for (const end = Date.now() + 5_000; (await ask(url)).from !== "f1"; ) t.true(Date.now() < end)
  const spilled = await shares(url, 100)
  const stayed = spilled.get("n2") ?? 0
  t.true(stayed >= 66 && stayed <= 74, `${stayed} of 100 stayed`)
  t.is(spilled.get("n1"), undefined)
  for (const one of near) one.isHealthy = false
  for (const end = Date.now() + 5_000; (await shares(url, 10)).has("n2"); ) t.true(Date.now() < end)
  t.deepEqual([...(await shares(url, 20)).keys()].sort(), ["f1", "f2"])
  for (const one of near) one.isHealthy = true
  for (const end = Date.now() + 5_000; (await shares(url, 10)).has("f1"); ) t.true(Date.now() < end)
})

test("a subset without endpoints is what its fallback says: nobody, anybody, another subset", async (t) => {
  const [red, blue] = await Promise.all(["red", "blue"].map((name) => origin(t, name)))
  const endpoints = [red, blue].map((one) => ({ address: one?.address, labels: { color: one?.name } }))
  const seen = async (subset: object) =>
    [...(await shares((await start(t, { endpoints, subset })).url, 8)).keys()].sort()
  t.deepEqual(await seen({ labels: { color: "red" } }), ["red"])
  t.deepEqual(await seen({ labels: { color: "green" }, fallback: "any" }), ["blue", "red"])
  t.deepEqual(await seen({ labels: { color: "green" }, fallback: { labels: { color: "blue" } } }), ["blue"])
  const { url } = await start(t, { endpoints, subset: { labels: { color: "green" } } })
  t.is((await fetch(url)).status, 500, "no fallback: it has no endpoints")
})
