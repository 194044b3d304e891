/** The life of a gateway, on FakeNative. */
import test from "ava"
import { TidegateError } from "../../src/errors.ts"
import { createGateway } from "../../src/gateway/index.ts"
import type { GatewayEvent } from "../../src/model/gateway-event.ts"
import type { ReceivedMessage } from "../../src/model/message.ts"
import { EVENT_KIND, FakeNative } from "../../src/native/index.ts"
import { start, until } from "./start.ts"

const API = { upstreams: { api: { endpoints: ["127.0.0.1:9000"] } }, routes: [{ when: { path: "/a" }, to: "api" }] }

test("refuses a bad configuration before anything is bound, with every problem", async (t) => {
  const bad = { upstreams: { a: {} }, routes: [{ when: { path: "/a" }, to: "b" }] }
  const error = await t.throwsAsync(createGateway(bad as never), { instanceOf: TidegateError })
  t.is(error?.code, "CONFIG_INVALID")
  t.is(error?.problems.length, 2)
})

test("applies the plan at the start and says where it listens", async (t) => {
  const { gateway, native } = await start(t, { ...API, listeners: [{ address: "tcp://127.0.0.1:0" }] })
  t.is(native.plan?.version, 1)
  t.is(native.plan?.upstreams[0]?.endpoints[0]?.address, "127.0.0.1:9000")
  t.deepEqual(gateway.stats().listeners, [{ name: "tcp://127.0.0.1:0", address: "127.0.0.1:40000" }])
})

test("resolves host names before the plan is made", async (t) => {
  const { native } = await start(t, { upstreams: { api: { endpoints: ["localhost:9000"] } } })
  t.deepEqual(
    native.plan?.upstreams[0]?.endpoints.map(({ id, address }) => [id, address]),
    [["localhost:9000", "127.0.0.1:9000"]],
  )
})

test("a name that does not resolve breaks its upstream alone", async (t) => {
  const { native } = await start(t, {
    upstreams: { api: { endpoints: ["no-such-host.invalid:1"] }, ok: { endpoints: ["127.0.0.1:1"] } },
  })
  t.regex(native.plan?.upstreams[0]?.problem ?? "", /does not resolve/)
  t.is(native.plan?.upstreams[1]?.problem, null)
})

test("closes itself when a listener cannot be bound, and the error has its code", async (t) => {
  const fake = new FakeNative()
  const gateway = await createGateway({ workers: 1, dataDir: false }, { native: fake })
  const applying = gateway.start()
  fake.gateway.failNextApply = "PORT_IN_USE: tcp://127.0.0.1:7000 is taken"
  const error = await t.throwsAsync(applying, { instanceOf: TidegateError })
  t.is(error?.code, "PORT_IN_USE")
  t.is(error?.exitCode, 2)
  t.is(fake.gateway.closed, 1)
  t.is(gateway.state, "closed")
})

test("a good change is a new plan, a bad one changes nothing", async (t) => {
  const { gateway, native } = await start(t, API)
  await gateway.reload({ ...API, workers: 1, dataDir: false, routes: [] })
  t.is(native.plan?.version, 2)
  t.is(native.plan?.routes.length, 0)
  await t.throwsAsync(gateway.reload({ routes: "x" }), { instanceOf: TidegateError })
  native.failNextApply = "INVALID_PLAN: no"
  await t.throwsAsync(gateway.reload({ workers: 1, dataDir: false }), { code: "INVALID_PLAN" })
  t.is(native.plan?.version, 2)
  t.deepEqual(gateway.stats().applies, { applied: 2, refused: 2 })
})

test("changes that are asked for together are applied one after the other", async (t) => {
  const { gateway, native } = await start(t, API)
  const change = (path: string) =>
    gateway.reload({ workers: 1, dataDir: false, routes: [{ when: { path }, to: { respond: {} } }] })
  await Promise.all([change("/1"), change("/2"), change("/3")])
  t.is(native.plan?.version, 4)
  t.is(native.plan?.routes[0]?.when.path?.value, "/3")
})

test("delivers published messages to its own subscribers", async (t) => {
  const { gateway } = await start(t)
  const received: ReceivedMessage[] = []
  const stop = gateway.subscribe("plant/+/temp", (message) => received.push(message))
  t.is(await gateway.publish("plant/1/temp", "21.5", { qos: 1 }), "success")
  await until(() => received.length === 1)
  t.is(received[0]?.payload.toString(), "21.5")
  stop()
  t.is(await gateway.inject({ topic: "plant/1/temp", payload: "22" }), "no-subscribers")
})

test("delivers a long message through several records and survives the end of the ring", async (t) => {
  const { gateway } = await start(t)
  const received: string[] = []
  gateway.subscribe("#", ({ payload }) => received.push(payload.toString()))
  const long = "x".repeat(3_000)
  for (let index = 0; index < 500; index++) {
    await gateway.publish("a", `${index}${long}`)
    await until(() => received.length === index + 1)
  }
  t.true(received.every((text, index) => text === `${index}${long}`))
  t.is(gateway.stats().eventsDropped, 0)
})

test("counts events that nobody could read in time", async (t) => {
  const { gateway, native } = await start(t)
  for (let index = 0; index < 20_000; index++) native.emit({ kind: EVENT_KIND.log, text: "x" })
  t.true(gateway.stats().eventsDropped > 0)
})

test("gives events to listeners by type, with the names of the plan", async (t) => {
  const { gateway, native } = await start(t, API)
  const events: GatewayEvent[] = []
  const stop = gateway.on("access", (event) => events.push(event))
  native.emit({ kind: EVENT_KIND.access, a: 0, b: 200, c: 0, d: 90, text: "GET /a -" })
  await until(() => events.length === 1)
  const [event] = events
  t.like(event, { type: "access", upstream: "api", status: 200, durationUs: 90, text: "GET /a -" })
  stop()
})

test("closes once, however often it is asked to", async (t) => {
  const { gateway, native } = await start(t)
  await Promise.all([gateway.close(), gateway.close()])
  await gateway.close()
  t.is(native.closed, 1)
  await t.throwsAsync(gateway.publish("a", "b"), { code: "GATEWAY_STATE" })
  await t.throwsAsync(gateway.start(), { code: "GATEWAY_STATE" })
})

test("drains with the times of the configuration", async (t) => {
  const { gateway, native } = await start(t, { drain: { delayMs: 3, timeoutMs: 9 } })
  await gateway.drain()
  t.is(gateway.state, "draining")
  t.deepEqual(JSON.parse(native.drained ?? ""), { delayMs: 3, timeoutMs: 9 })
})

test("registered instances become endpoints and leave again", async (t) => {
  const { gateway, native } = await start(t, { upstreams: { api: { service: "api" } } })
  gateway.registry.put("api", "a1", { host: "127.0.0.1", port: 9_000 })
  await until(() => native.plan?.upstreams[0]?.endpoints.length === 1)
  t.is(native.plan?.upstreams[0]?.endpoints[0]?.id, "a1")
  gateway.registry.remove("api", "a1")
  await until(() => native.plan?.upstreams[0]?.endpoints.length === 0)
  t.is(native.plan?.upstreams[0]?.problem, null)
})

test("a heartbeat with a load only sets weights", async (t) => {
  const upstreams = { api: { service: "api", balance: { loadScore: { threshold: 0.5 } } } }
  const { gateway, native } = await start(t, { upstreams })
  gateway.registry.put("api", "a1", { host: "127.0.0.1", port: 9_000 })
  await until(() => native.plan?.upstreams[0]?.endpoints.length === 1)
  const version = native.plan?.version
  gateway.registry.heartbeat("api", "a1", { active: 6, max: 10, cpu: 20, memory: 30 })
  await until(() => native.weights[0]?.health === 0)
  t.deepEqual(native.weights, [{ upstream: "api", endpoint: "a1", health: 0, draining: false }])
  gateway.registry.patch("api", "a1", { status: "draining" })
  await until(() => native.weights[0]?.draining === true)
  t.is(native.plan?.version, version)
})

test("a change of endpoints during a reload never brings the configuration before back", async (t) => {
  const config = (path: string) => ({
    workers: 1,
    dataDir: false,
    services: { fixed: [path === "/1" ? "127.0.0.1:1" : "127.0.0.1:2"] },
    upstreams: { api: { service: "api" }, fixed: { service: "fixed" } },
    routes: [{ when: { path }, to: "api" }],
  })
  const { gateway, native } = await start(t, config("/1"))
  const reloading = gateway.reload(config("/2"))
  gateway.registry.put("api", "a1", { host: "127.0.0.1", port: 9_000 })
  await reloading
  await until(() => native.plan?.upstreams[0]?.endpoints.length === 1)
  t.is(native.plan?.routes[0]?.when.path?.value, "/2")
  t.is(native.plan?.upstreams[1]?.endpoints[0]?.address, "127.0.0.1:2")
})
