/** Endpoints of CoAP's resource directory as instances: what is told, and what was told before. */
import test from "ava"
import type { DirectoryChanges, DirectoryEndpoint } from "../../src/native/index.ts"
import { DirectoryFollower, ServiceRegistry } from "../../src/registry/index.ts"

const lamp: DirectoryEndpoint = {
  endpoint: "a b",
  sector: "floor",
  base: "coap://[2001:db8::1]",
  lifetimeS: 60,
  address: "/rd/00000001",
  attributes: { et: "lamp", x: "1" },
}

interface Followed {
  readonly registry: ServiceRegistry
  readonly tell: (changes: Partial<DirectoryChanges>) => Promise<number[]>
  readonly complaints: string[]
}

function follow(): Followed {
  const registry = new ServiceRegistry(":memory:")
  let next: DirectoryChanges = { revision: 0, isWhole: false, put: [], removed: [] }
  const asked: number[] = []
  const directory = async (since: number): Promise<string> => {
    asked.push(since)
    return JSON.stringify(next)
  }
  const complaints: string[] = []
  const follower = new DirectoryFollower(registry, { directory }, (text) => complaints.push(text))
  const tell = async (changes: Partial<DirectoryChanges>): Promise<number[]> => {
    next = { revision: next.revision + 1, isWhole: false, put: [], removed: [], ...changes }
    await follower.pull()
    return asked
  }
  return { registry, tell, complaints }
}

test("an endpoint is an instance of its type, with what it said of itself", async (t) => {
  const { registry, tell } = follow()
  t.deepEqual(await tell({ put: [lamp] }), [0])
  const [instance] = registry.instances("lamp")
  t.like(instance, {
    id: "a:20b:floor",
    host: "2001:db8::1",
    port: 5683,
    protocol: "coap",
    zone: "floor",
    ttlSeconds: 60,
  })
  t.deepEqual(instance?.metadata, { et: "lamp", x: "1", base: lamp.base, registration: lamp.address })
})

test("one that changes its type moves, one that is gone or left out goes", async (t) => {
  const { registry, tell } = follow()
  const other = { ...lamp, endpoint: "b", sector: null, attributes: {} }
  await tell({ put: [lamp, other] })
  t.is(registry.instances("coap")[0]?.id, "b")
  t.deepEqual(await tell({ put: [{ ...lamp, attributes: { et: "fan" } }] }), [0, 1])
  t.deepEqual(registry.services(), ["coap", "fan"])
  await tell({ removed: [{ endpoint: "a b", sector: "floor" }] })
  t.deepEqual(registry.services(), ["coap"])
  await tell({ isWhole: true, put: [] })
  t.deepEqual(registry.services(), [])
})

test("a base that is no address is no instance", async (t) => {
  const { registry, tell } = follow()
  await tell({ put: [{ ...lamp, base: "urn:dev:1" }] })
  t.deepEqual(registry.services(), [])
})

test("a device is no instance of a service that others registered, and takes nobody's name", async (t) => {
  const { registry, tell, complaints } = follow()
  registry.put("users", "u1", { host: "127.0.0.1", port: 9_100 })
  registry.useSourced("orders", { kind: "file", instances: [] })
  const device = (endpoint: string, et: string, sector: string | null = null): DirectoryEndpoint => {
    return { ...lamp, endpoint, sector, attributes: { et } }
  }
  await tell({ put: [device("u1", "users"), device("u2", "users"), device("o", "orders"), device("a", "lamp", "b")] })
  t.deepEqual(
    registry.instances("users").map(({ id, port }) => [id, port]),
    [["u1", 9_100]],
  )
  await tell({ put: [{ ...device("a:b", "lamp"), base: "coap://[2001:db8::2]" }, device("c", "lamp")] })
  t.deepEqual(
    registry.instances("lamp").map(({ id, host }) => [id, host]),
    [
      ["a:b", "2001:db8::1"],
      ["c", "2001:db8::1"],
    ],
  )
  await tell({ removed: [{ endpoint: "a:b", sector: null }] })
  t.is(registry.instances("lamp").length, 2, "what was not taken over is not taken away")
  t.is(complaints.length, 4)
  t.regex(complaints[0] ?? "", /^u1 of the directory is no instance of users: .*others registered that service/)
  t.regex(complaints[3] ?? "", /another endpoint has that name/)
})
