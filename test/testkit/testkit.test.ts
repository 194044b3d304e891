/** The test kit on the real data plane: devices of each protocol, a clock that is set ahead, recordings. */
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import type { ExecutionContext } from "ava"
import type { ConfigInput } from "../../src/config/index.ts"
import { defineHandler, handler } from "../../src/index.ts"
import { fromLines, testGateway } from "../../src/testing.ts"
import { withAddon } from "../gateway/with-addon.ts"

async function open(t: ExecutionContext, config: ConfigInput = {}) {
  const gateway = await testGateway(config)
  t.teardown(() => gateway.close())
  return gateway
}

withAddon("one topic, a device of each protocol", async (t) => {
  const gateway = await open(t)
  const meter = await gateway.mqtt("meter")
  const socket = await gateway.websocket("/", { protocol: "tidegate.v1.json" })
  const coap = await gateway.coap()
  t.is(await meter.subscribe("plant/+/temp", 1), 1)
  socket.send(JSON.stringify({ type: "subscribe", id: 1, filter: "plant/#" }))
  t.like(JSON.parse(await socket.next()), { type: "ack", code: "success" })

  t.is(await meter.publish("plant/1/temp", "21.5", { qos: 2, retain: true }), 0)
  t.like(await meter.next(), { topic: "plant/1/temp", text: "21.5" })
  t.like(JSON.parse(await socket.next()), { topic: "plant/1/temp", payload: "21.5" })
  t.is(await (await gateway.http("/t/plant/1/temp")).text(), "21.5")
  t.like(await coap.request("GET", "/t/plant/1/temp"), { code: "2.05", text: "21.5" })

  const observed = coap.observe("/t/plant/1/temp")
  t.is((await observed.next()).text, "21.5")
  t.like(await coap.request("POST", "/t/plant/1/temp", "22"), { code: "2.04" })
  t.is((await observed.next()).text, "22")
  await observed.stop()
  t.is((await meter.next()).text, "22")
  t.is(await gateway.inject({ topic: "plant/2/temp", payload: "x" }), "success")
  t.is((await meter.next()).topic, "plant/2/temp")
  await t.throwsAsync(meter.next(50), { code: "TEST_TIMEOUT" })
  await meter.disconnect()
})

withAddon("what is due happens when the clock is set ahead", async (t) => {
  const gateway = await open(t)
  const will = { topic: "gone", payload: "meter", qos: 1, retain: false, properties: { willDelay: 3_600 } } as const
  const meter = await gateway.mqtt({ clientId: "meter", will, properties: { sessionExpiry: 7_200 } })
  const watcher = await gateway.mqtt("watcher")
  await watcher.subscribe("#", 1)
  meter.vanish()
  await t.throwsAsync(watcher.next(100), { code: "TEST_TIMEOUT" }, "the will waits")
  await gateway.advance(3_601_000)
  t.like(await watcher.next(), { topic: "gone", text: "meter" })

  gateway.gateway.registry.put("api", "a", { host: "127.0.0.1", port: 1, ttlSeconds: 30 })
  await gateway.advance(29_000)
  t.is(gateway.gateway.registry.instances("api").length, 1)
  await gateway.advance(2_000)
  t.is(gateway.gateway.registry.instances("api").length, 0)

  await watcher.publish("$delayed/600/later", "now", { qos: 1 })
  await gateway.advance(601_000)
  t.is((await watcher.next()).topic, "later")
})

withAddon("a refused device says why", async (t) => {
  const users = { alice: "$argon2id$v=19$m=1024,t=1,p=1$c2FsdHNhbHQ$mz0VsVyoCDHKNJ5LvjdXBw" }
  const gateway = await open(t, { auth: { users } })
  await t.throwsAsync(gateway.mqtt("meter"), {
    code: "TEST_REFUSED",
    message: /CONNECT of meter was answered with 0x8[67]/,
  })
  await t.throwsAsync(gateway.websocket("/nothing"), { code: "TEST_REFUSED", message: /answered with 4/ })
})

withAddon("what was recorded is played again", async (t) => {
  const first = await open(t)
  const recording = first.record("plant/#")
  const meter = await first.mqtt("meter")
  for (const value of ["1", "2", "3"]) await meter.publish("plant/a", value, { qos: 1 })
  await first.inject({ topic: "other", payload: "x" })
  for (let tries = 0; recording.messages.length < 3 && tries < 100; tries++)
    await new Promise((resolve) => setTimeout(resolve, 10))
  recording.stop()
  t.is(recording.messages.length, 3)

  const seen: string[] = []
  const count = defineHandler({ name: "count", handle: (message) => void seen.push(message.text()) })
  const second = await open(t, { routes: [{ when: { topic: "plant/#" }, to: handler(count) }] })
  await second.replay(fromLines(recording.toLines()))
  t.deepEqual(seen, ["1", "2", "3"])
})

withAddon("the example's tests pass", async (t) => {
  const example = fileURLToPath(new URL("../../examples/tested-policies/tidegate.config.test.ts", import.meta.url))
  const args = ["--import", "@oxc-node/core/register", "--test", example]
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" })
  t.is(status, 0, stdout + stderr)
  t.regex(stdout, /pass 3/)
})
