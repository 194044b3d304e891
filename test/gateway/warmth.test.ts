/** Slow start on a given clock, and subsets: which endpoints an upstream takes, and how much of them. */
import test from "ava"
import type { NormalizedUpstream } from "../../src/config/index.ts"
import { Warmth } from "../../src/gateway/warmth.ts"
import type { Endpoint } from "../../src/model/service.ts"
import { start, until } from "./start.ts"

const UPSTREAM = { name: "api", slowStartMs: 1_000 } as NormalizedUpstream
const named = (...ids: string[]) => ids.map((id) => ({ id }) as Endpoint)

test("a new endpoint gets its weight over the window, those of the first look at once", (t) => {
  let now = 0
  const warmth = new Warmth(
    () => {},
    () => now,
  )
  const share = (id: string): number => warmth.share(UPSTREAM, id)
  warmth.meet(UPSTREAM, named("a", "b"))
  t.deepEqual([share("a"), share("b")], [1, 1])
  warmth.meet(UPSTREAM, named("a", "b", "c"))
  t.deepEqual([share("a"), share("c")], [1, 0.1])
  now = 500
  t.is(share("c"), 0.5)
  warmth.meet(UPSTREAM, named("a", "b", "c"))
  t.is(share("c"), 0.5, "looking again changes nothing")
  now = 1_000
  t.is(share("c"), 1)
  warmth.close()
})

test("one that was ill begins anew, one that was never ill does not", (t) => {
  let now = 0
  const warmth = new Warmth(
    () => {},
    () => now,
  )
  warmth.judged(UPSTREAM, "a", "healthy")
  t.is(warmth.share(UPSTREAM, "a"), 1)
  warmth.judged(UPSTREAM, "a", "unhealthy")
  warmth.judged(UPSTREAM, "a", "healthy")
  t.is(warmth.share(UPSTREAM, "a"), 0.1)
  const off = { ...UPSTREAM, slowStartMs: 0 }
  now = 1
  warmth.judged(off, "b", "unhealthy")
  warmth.judged(off, "b", "healthy")
  t.is(warmth.share(off, "b"), 1)
  warmth.close()
})

test("the weights of a gateway grow by themselves", async (t) => {
  const { gateway, native } = await start(t, {
    upstreams: { api: { service: "api", balance: "weighted", slowStartMs: 600 } },
  })
  gateway.registry.put("api", "a", { host: "127.0.0.1", port: 1 })
  await until(() => native.plan?.upstreams[0]?.endpoints.length === 1)
  gateway.registry.put("api", "b", { host: "127.0.0.1", port: 2 })
  const healthOf = (id: string) => native.weights.find(({ endpoint }) => endpoint === id)?.health
  const seen = new Set<number>()
  await until(() => {
    const health = healthOf("b")
    if (health !== undefined) seen.add(health)
    return health === 1
  })
  t.true(
    [...seen].some((health) => health > 0.1 && health < 1),
    [...seen].join(" "),
  )
  t.is(healthOf("a"), 1)
})

test("a subset takes the endpoints that have all that it asks for", async (t) => {
  const endpoints = [
    { address: "127.0.0.1:1", zone: "eu", labels: { tier: "gold" } },
    { address: "127.0.0.1:2", zone: "eu" },
    { address: "127.0.0.1:3", zone: "us", labels: { tier: "gold" } },
  ]
  const { gateway, native } = await start(t, {
    upstreams: {
      eu: { endpoints, subset: { zone: "eu" } },
      gold: { endpoints, subset: { zone: "eu", labels: { tier: "gold" } } },
      second: { service: "api", subset: { version: "2", labels: { tier: "gold" } } },
    },
  })
  const idsOf = (name: string): string[] => {
    return (native.plan?.upstreams.find((upstream) => upstream.name === name)?.endpoints ?? []).map(({ id }) => id)
  }
  t.deepEqual(idsOf("eu"), ["127.0.0.1:1", "127.0.0.1:2"])
  t.deepEqual(idsOf("gold"), ["127.0.0.1:1"])
  gateway.registry.put("api", "a", { host: "127.0.0.1", port: 1, version: "2", metadata: { tier: "gold" } })
  gateway.registry.put("api", "b", { host: "127.0.0.1", port: 2, version: "1", metadata: { tier: "gold" } })
  gateway.registry.put("api", "c", { host: "127.0.0.1", port: 3, version: "2" })
  await until(() => idsOf("second").join() === "a")
  t.pass()
})
