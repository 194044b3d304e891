/** One contract for every source of instances: what it says, what it says next, what stays when it fails. */
import test, { type ExecutionContext } from "ava"
import { loadData } from "../../src/config/index.ts"
import { defineRegistry, type RegistryInstance } from "../../src/index.ts"
import { ServiceRegistry, SourceFollower } from "../../src/registry/index.ts"
import { has } from "../e2e/run-gateway.ts"
import { until } from "../gateway/start.ts"
import { consulWorld, dnsWorld, etcdWorld, fileWorld, httpWorld, kubernetesWorld, type World } from "./sources.ts"

const ONE: readonly RegistryInstance[] = [{ id: "a", host: "127.0.0.1", port: 9_000, weight: 3 }]
const TWO: readonly RegistryInstance[] = [
  { id: "b", host: "127.0.0.2", port: 9_000 },
  { id: "c", host: "127.0.0.3", port: 9_000, zone: "z", version: "2" },
]

/** Follows one source into a registry of its own. */
function follow(t: ExecutionContext, source: object) {
  const { config, functions } = loadData({ services: { api: source } })
  const registry = new ServiceRegistry(":memory:")
  const complaints: string[] = []
  const follower = new SourceFollower(registry, (text) => complaints.push(text))
  t.teardown(() => {
    follower.close()
    registry.close()
  })
  const use = (): void => follower.use(config.sources, functions)
  use()
  const hosts = (): string =>
    registry
      .instances("api")
      .map(({ host }) => host)
      .sort()
      .join(" ")
  return { registry, complaints, follower, use, hosts, functions }
}

const WORLDS: readonly { name: string; open: () => Promise<World>; tells: readonly string[] }[] = [
  { name: "file", open: fileWorld, tells: ["id", "weight", "zone", "version"] },
  { name: "http", open: httpWorld, tells: ["id", "weight", "zone", "version"] },
  { name: "dns", open: () => dnsWorld("dns"), tells: [] },
  { name: "srv", open: () => dnsWorld("srv"), tells: ["weight"] },
  { name: "consul", open: consulWorld, tells: ["id", "weight", "zone", "version"] },
  { name: "kubernetes", open: kubernetesWorld, tells: ["id", "zone"] },
  ...(has("etcd", "etcd-server")
    ? [{ name: "etcd", open: etcdWorld, tells: ["id", "weight", "zone", "version"] }]
    : []),
]

for (const { name, open, tells } of WORLDS) {
  test(`${name}: instances come, change, stay when the source fails, and come again`, async (t) => {
    const world = await open()
    t.teardown(() => world.close())
    await world.set(ONE)
    const { registry, complaints, hosts } = follow(t, { ...world.source, intervalMs: 100 })
    await until(() => hosts() === "127.0.0.1")
    const [first] = registry.instances("api")
    t.is(first?.port, 9_000)
    if (tells.includes("id")) t.is(first?.id, "a")
    if (tells.includes("weight")) t.is(first?.weight, 3)
    registry.judge("api", first?.id ?? "", "healthy")

    await world.set(TWO)
    await until(() => hosts() === "127.0.0.2 127.0.0.3")
    const second = registry.instances("api").find(({ host }) => host === "127.0.0.3")
    if (tells.includes("zone")) t.is(second?.zone, "z")
    if (tells.includes("version")) t.is(second?.version, "2")
    t.like(registry.source("api"), { stale: false, fault: null })

    await world.fail()
    await until(() => registry.source("api")?.stale === true)
    t.is(hosts(), "127.0.0.2 127.0.0.3", "the last snapshot stays")
    t.truthy(registry.source("api")?.fault)
    t.regex(complaints.join("\n"), /service "api": its source \w+ failed, what it said last stays/)

    await world.mend()
    await world.set(ONE)
    await until(() => hosts() === "127.0.0.1" && registry.source("api")?.stale === false)
    t.pass()
  })
}

test("http: an unchanged answer is not sent again", async (t) => {
  const world = await httpWorld()
  t.teardown(() => world.close())
  world.set(ONE)
  const { hosts } = follow(t, { ...world.source, intervalMs: 100 })
  await until(() => world.unchanged() > 1)
  t.is(hosts(), "127.0.0.1")
})

test("a function of the configuration is a source, its verdicts outlive a snapshot", async (t) => {
  const heard: string[] = []
  let push: (instances: readonly RegistryInstance[]) => void = () => {}
  const inventory = defineRegistry({
    name: "inventory",
    async *watch(service, signal) {
      heard.push(service)
      while (!signal.aborted) yield await new Promise<readonly RegistryInstance[]>((resolve) => (push = resolve))
    },
  })
  const { registry, hosts } = follow(t, inventory)
  await until(() => heard.length === 1)
  push(ONE)
  await until(() => hosts() === "127.0.0.1")
  registry.judge("api", "a", "healthy")
  await new Promise((resolve) => setImmediate(resolve))
  push([...ONE, ...TWO])
  await until(() => registry.instances("api").length === 3)
  t.is(registry.instances("api").find(({ id }) => id === "a")?.status, "healthy")
  t.deepEqual(heard, ["api"])
})

test("what is no instance is left out and said", async (t) => {
  const bad = [
    null,
    1,
    "api:99999",
    { host: "a b", port: 1 },
    { host: "a", port: 0 },
    { host: "a", port: 1, weight: -1 },
  ]
  const odd = defineRegistry({
    name: "odd",
    async *watch(_, signal) {
      yield [...bad, "[::1]:80", { host: "ok", port: 2 }] as readonly RegistryInstance[]
      await new Promise((resolve) => signal.addEventListener("abort", resolve))
    },
  })
  const { complaints, hosts } = follow(t, odd)
  await until(() => hosts() === "::1 ok")
  t.regex(complaints.join(), /6 of 8 entries of registry are no instances/)
})

test("a source that is taken out takes its instances along, one that stays goes on", async (t) => {
  const world = await fileWorld()
  t.teardown(() => world.close())
  await world.set(ONE)
  const { registry, follower, use, hosts, functions } = follow(t, world.source)
  await until(() => hosts() === "127.0.0.1")
  use()
  t.is(hosts(), "127.0.0.1")
  follower.use({}, functions)
  t.deepEqual([registry.services(), registry.source("api")], [[], null])
})
