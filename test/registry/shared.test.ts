/** Gateways that share a registry, over real servers: one contract for each kind of store. */
import test from "ava"
import { loadData } from "../../src/config/index.ts"
import { ServiceRegistry, SharedRegistry } from "../../src/registry/index.ts"
import { has } from "../e2e/run-gateway.ts"
import { until } from "../gateway/start.ts"
import { type Daemon, natsServer, postgresPrograms, postgresServer } from "./servers.ts"

const KINDS: readonly { name: string; isHere: boolean; open: () => Promise<Daemon>; config: (at: Daemon) => object }[] =
  [
    {
      name: "postgres",
      isHere: postgresPrograms() !== null || has("postgres", "postgresql"),
      open: postgresServer,
      config: ({ url }) => ({ postgres: { url } }),
    },
    {
      name: "nats",
      isHere: has("nats-server", "nats-server"),
      open: natsServer,
      config: ({ port }) => ({ nats: { servers: `127.0.0.1:${port}` } }),
    },
  ]

for (const { name, isHere, open, config } of KINDS.filter(({ isHere }) => isHere)) {
  test(`${name}: what is registered at one gateway is known at all, also what changed while the store was away`, async (t) => {
    t.true(isHere)
    const server = await open()
    const { registry: stored } = loadData({ registry: config(server) }).config
    let now = Date.now()
    const complaints: string[] = []
    const gateway = () => {
      const registry = new ServiceRegistry(":memory:", () => now)
      const shared = new SharedRegistry(registry, (text) => complaints.push(text))
      shared.use(stored)
      const hosts = (): string =>
        registry
          .instances("api")
          .map(({ id, host, status }) => `${id} ${host} ${status}`)
          .sort()
          .join(", ")
      return { registry, shared, hosts }
    }
    const [one, two] = [gateway(), gateway()]
    t.teardown(async () => {
      for (const { shared, registry } of [one, two]) {
        shared.close()
        registry.close()
      }
      await server.close()
    })

    one.registry.put("api", "a:1", { host: "10.0.0.1", port: 80, ttlSeconds: 60 })
    await until(() => two.hosts() === "a:1 10.0.0.1 unknown")
    now += 1_000
    two.registry.heartbeat("api", "a:1", { active: 1 })
    await until(() => one.hosts() === "a:1 10.0.0.1 healthy")
    t.is(one.registry.instances("api")[0]?.load?.active, 1)
    one.registry.judge("api", "a:1", "unhealthy")
    two.registry.patch("api", "a:1", { weight: 7 })
    await until(() => one.registry.instances("api")[0]?.weight === 7)
    t.is(one.hosts(), "a:1 10.0.0.1 unhealthy", "what its own checks found stays")
    t.is(two.hosts(), "a:1 10.0.0.1 healthy")

    await server.fail()
    await until(() => complaints.filter((text) => text.includes("goes on by itself")).length >= 2)
    now += 1_000
    one.registry.put("api", "b", { host: "10.0.0.2", port: 80 })
    two.registry.put("api", "c", { host: "10.0.0.3", port: 80 })
    two.registry.remove("api", "a:1")
    t.is(one.hosts(), "a:1 10.0.0.1 unhealthy, b 10.0.0.2 unknown")
    await server.mend()
    await until(() => one.hosts() === "b 10.0.0.2 unknown, c 10.0.0.3 unknown")
    await until(() => two.hosts() === one.hosts())

    one.registry.put("api", "d", { host: "10.0.0.4", port: 80, ttlSeconds: 10 })
    await until(() => two.hosts().includes("d 10.0.0.4"))
    now += 11_000
    one.registry.sweep()
    await until(() => !two.hosts().includes("d 10.0.0.4"))

    const three = gateway()
    await until(() => three.hosts() === "b 10.0.0.2 unknown, c 10.0.0.3 unknown")
    three.shared.close()
    three.registry.close()
  })
}
