/** The registry of services, on a given clock and on disk. */
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test from "ava"
import { resolveEndpoints, ServiceRegistry } from "../../src/registry/index.ts"

const HERE = { host: "127.0.0.1", port: 9_000 }

test("forgets an instance that gives no sign of life for its time", (t) => {
  let now = 1_000_000
  const registry = new ServiceRegistry(":memory:", () => now)
  registry.put("api", "a", { ...HERE, ttlSeconds: 10 })
  registry.put("api", "b", HERE)
  now += 9_000
  registry.heartbeat("api", "a")
  now += 9_000
  registry.sweep()
  t.is(registry.instances("api").length, 2)
  now += 2_000
  registry.sweep()
  t.deepEqual(
    registry.instances("api").map(({ id }) => id),
    ["b"],
  )
  t.throws(() => registry.heartbeat("api", "a"), { code: "SERVICE_UNKNOWN" })
})

test("a registration survives a restart", (t) => {
  const file = join(mkdtempSync(join(tmpdir(), "tidegate-")), "registry.db")
  const before = new ServiceRegistry(file)
  before.put("api", "a", { ...HERE, zone: "z", metadata: { k: "v" }, ttlSeconds: 60 })
  before.close()
  const after = new ServiceRegistry(file)
  t.like(after.instances("api")[0], { id: "a", zone: "z", metadata: { k: "v" }, ttlSeconds: 60 })
  after.close()
})

test("watchers hear of every change until they leave", (t) => {
  const registry = new ServiceRegistry(":memory:")
  const heard: string[] = []
  const stop = registry.watch((service) => heard.push(service))
  registry.put("api", "a", HERE)
  registry.heartbeat("api", "a")
  registry.heartbeat("api", "a")
  registry.patch("api", "a", { status: "draining" })
  registry.remove("api", "a")
  t.deepEqual(heard, ["api", "api", "api", "api"], "that an instance still lives is no news")
  stop()
  registry.put("api", "a", HERE)
  t.is(heard.length, 4)
})

test("a draining instance stays an endpoint so that it can finish, and a check does not bring it back", (t) => {
  const registry = new ServiceRegistry(":memory:")
  registry.put("api", "a", HERE)
  registry.patch("api", "a", { status: "draining" })
  registry.judge("api", "a", "healthy")
  t.like(registry.endpoints("api")[0], { id: "a", draining: true })
})

test("fixed instances come from the configuration and go with it", (t) => {
  const registry = new ServiceRegistry(":memory:")
  registry.useFixed({ api: [{ id: "f", host: "h", port: 1, weight: 2, zone: null, version: null, labels: {} }] })
  t.is(registry.instances("api").length, 1)
  registry.useFixed({})
  t.is(registry.instances("api").length, 0)
})

test("a name with several addresses is several endpoints, one that does not resolve is named", async (t) => {
  const endpoint = (id: string, host: string) => ({
    id,
    host,
    port: 80,
    weight: 1,
    zone: null,
    draining: false,
    load: null,
  })
  const lookup = async (host: string) => {
    if (host === "bad") throw new Error("nope")
    return ["10.0.0.1", "::1"]
  }
  const { endpoints, faults } = await resolveEndpoints(
    [endpoint("a:80", "a"), endpoint("b:80", "bad"), endpoint("c", "9.9.9.9")],
    lookup,
  )
  t.deepEqual(
    endpoints.map(({ id, address }) => [id, address]),
    [
      ["a:80", "10.0.0.1:80"],
      ["a:80#2", "[::1]:80"],
      ["c", "9.9.9.9:80"],
    ],
  )
  t.deepEqual(faults, ["bad does not resolve: nope"])
})
