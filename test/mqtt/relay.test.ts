/** The proxy role: CONNECT chooses the broker, packets pass as they are, rules and counters hold on the way. Brokers: mosquitto. */
import anyTest, { type TestFn } from "ava"
import mqtt from "mqtt"
import { definePolicy } from "../../src/index.ts"
import { hasMosquitto, mosquitto } from "./mosquitto.ts"
import { counted, RawClient, start } from "./raw.ts"

const test = (hasMosquitto || process.env.CI ? anyTest : anyTest.skip) as TestFn

const ROUTES = [{ when: { protocol: "mqtt", clientId: { regex: "fleet-.*" } }, to: "brokers" }]

test("a client is served by the broker its route leads to, over TCP and WebSocket, MQTT 3.1.1 and 5, QoS 2 too", async (t) => {
  const { port: behind } = await mosquitto(t)
  const target = await start(t, {
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind}`] } },
    routes: ROUTES,
  })
  const direct = await mqtt.connectAsync(`mqtt://127.0.0.1:${behind}`)
  await direct.subscribeAsync("up/#", { qos: 2 })
  const own = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`, { clientId: "own" })
  await own.subscribeAsync("up/#")
  own.on("message", () => t.fail("the embedded broker has nothing to do with it"))
  const urls = [`mqtt://127.0.0.1:${target.port}`, `ws://127.0.0.1:${target.port}/mqtt`]
  for (const [index, url] of urls.entries()) {
    for (const protocolVersion of [4, 5] as const) {
      const clientId = `fleet-${index}-${protocolVersion}`
      const client = await mqtt.connectAsync(url, { clientId, protocolVersion })
      const up = new Promise<string>((resolve) => direct.once("message", (_, payload) => resolve(String(payload))))
      await client.publishAsync(`up/${clientId}`, clientId, { qos: 2 })
      t.is(await up, clientId)
      await client.subscribeAsync(`down/${clientId}`, { qos: 1 })
      const down = new Promise<number>((resolve) => client.once("message", (_, payload) => resolve(payload.length)))
      await direct.publishAsync(`down/${clientId}`, Buffer.alloc(300_000, 1), { qos: 1 })
      t.is(await down, 300_000)
      await client.endAsync()
    }
  }
  await Promise.all([own.endAsync(), direct.endAsync()])
})

test("consistent hash on the client id keeps a client on its broker, and all brokers get some", async (t) => {
  const brokers = await Promise.all([mosquitto(t), mosquitto(t)])
  const endpoints = brokers.map(({ port }) => `127.0.0.1:${port}`)
  const target = await start(t, {
    upstreams: {
      brokers: { protocol: "mqtt", endpoints, balance: { consistentHash: { by: "clientId", boundedLoad: false } } },
    },
    routes: ROUTES,
  })
  const watchers = await Promise.all(brokers.map(({ port }) => mqtt.connectAsync(`mqtt://127.0.0.1:${port}`)))
  const seen = watchers.map(() => new Map<string, number>())
  for (const [index, watcher] of watchers.entries()) {
    watcher.on("message", (topic) => seen[index]?.set(topic, (seen[index]?.get(topic) ?? 0) + 1))
    await watcher.subscribeAsync("from/#", { qos: 1 })
  }
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 12; n++) {
      const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`, { clientId: `fleet-${n}` })
      await client.publishAsync(`from/${n}`, "x", { qos: 1 })
      await client.endAsync()
    }
  }
  await new Promise((resolve) => setTimeout(resolve, 200))
  for (const map of seen) t.true(map.size > 0 && [...map.values()].every((count) => count === 2))
  t.is(
    seen.reduce((sum, map) => sum + map.size, 0),
    12,
  )
  await Promise.all(watchers.map((watcher) => watcher.endAsync()))
})

test("what the rules forbid is answered here and never arrives there", async (t) => {
  const { port: behind } = await mosquitto(t)
  const target = await start(t, {
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind}`] } },
    routes: ROUTES,
    auth: { acl: [{ allow: "all", topic: "%c/#" }] },
  })
  const direct = await mqtt.connectAsync(`mqtt://127.0.0.1:${behind}`)
  const arrived: string[] = []
  direct.on("message", (topic) => arrived.push(topic))
  await direct.subscribeAsync("#")
  const { client } = await RawClient.connect(target, { clientId: "fleet-1" })
  const publish = async (topic: string, messageId: number) => {
    client.send({ cmd: "publish", topic, payload: "x", qos: 1, messageId, dup: false, retain: false })
    return (await client.expect("puback")).reasonCode ?? 0
  }
  t.is(await publish("other/a", 1), 0x87)
  t.true((await publish("fleet-1/a", 2)) < 0x80)
  const subscriptions = ["fleet-1/#", "other/#"].map((topic) => ({ topic, qos: 0 }))
  client.send({ cmd: "subscribe", messageId: 3, subscriptions })
  t.deepEqual((await client.expect("suback")).granted, [0x83, 0x87])
  client.send({ cmd: "subscribe", messageId: 4, subscriptions: subscriptions.slice(0, 1) })
  t.deepEqual((await client.expect("suback")).granted, [0])
  for (const end = Date.now() + 3_000; Date.now() < end && arrived.length === 0; ) await client.settle()
  t.deepEqual(arrived, ["fleet-1/a"])
  await direct.endAsync()
})

test("what the rules forbid of what its broker sends does not reach the client, and the broker hears that it is done", async (t) => {
  const { port: behind } = await mosquitto(t, ["max_inflight_messages 2"])
  const config = (acl: object[]) => ({
    workers: 2,
    admin: false,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind}`] } },
    routes: ROUTES,
    auth: { acl },
  })
  const target = await start(t, config([{ allow: "all", topic: "#" }]))
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`, { clientId: "fleet-1" })
  const got: string[] = []
  client.on("message", (topic, payload) => got.push(`${topic} ${payload}`))
  await client.subscribeAsync("#", { qos: 2 })
  const direct = await mqtt.connectAsync(`mqtt://127.0.0.1:${behind}`)
  const send = async (text: string, arrive: number) => {
    for (const topic of ["secret/a", "secret/b", "open"])
      for (const qos of [0, 1, 2] as const) await direct.publishAsync(topic, `${text}${qos}`, { qos })
    for (const end = Date.now() + 5_000; Date.now() < end && got.length < arrive; )
      await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await send("before", 9)
  t.is(got.length, 9)
  await target.gateway.reload(
    config([
      { deny: "subscribe", topic: "secret/#" },
      { allow: "all", topic: "#" },
    ]),
  )
  await send("after", 12)
  t.deepEqual(got.slice(9).toSorted(), ["open after0", "open after1", "open after2"])
  t.is(counted(target, "tidegate_dropped_total", { protocol: "mqtt", reason: "forbidden" }), 6)
  await Promise.all([client.endAsync(), direct.endAsync()])
})

test("no broker: 0x88; a broker that is lost: 0x9C, and the next CONNECT finds another", async (t) => {
  const brokers = await Promise.all([mosquitto(t), mosquitto(t)])
  const endpoints = brokers.map(({ port }) => `127.0.0.1:${port}`)
  const target = await start(t, { upstreams: { brokers: { protocol: "mqtt", endpoints } }, routes: ROUTES })
  const { client, connack } = await RawClient.connect(target, { clientId: "fleet-1" })
  t.is((connack as { reasonCode?: number }).reasonCode, 0)
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "a", qos: 0 }] })
  await client.expect("suback")
  await brokers[0].stop()
  const { client: next, connack: accepted } = await RawClient.connect(target, { clientId: "fleet-2" })
  t.is((accepted as { reasonCode?: number }).reasonCode, 0)
  await brokers[1].stop()
  for (const lost of [client, next]) {
    const { closed, code } = await lost.closed(5_000)
    t.true(closed)
    // mosquitto itself may have said why.
    t.true(code === 0x9c || code === 0x8b, String(code))
  }
  const { connack: refused } = await RawClient.connect(target, { clientId: "fleet-3" })
  t.is((refused as { reasonCode?: number }).reasonCode, 0x88)
})

test("a policy sends a client to another broker by its user name; one that is unknown gets 0x88", async (t) => {
  const [first, second] = await Promise.all([mosquitto(t), mosquitto(t)])
  const byUser = definePolicy({
    name: "byUser",
    deadlineMs: 5_000,
    reads: () => ["username"],
    decide: (message) => {
      const user = message.attribute("username")
      return user === null ? undefined : { upstream: user }
    },
  })
  const upstream = ({ port }: { port: number }) => ({ protocol: "mqtt", endpoints: [`127.0.0.1:${port}`] })
  const target = await start(t, {
    upstreams: { brokers: upstream(first), siteB: upstream(second) },
    routes: ROUTES,
    broker: { hooks: { onConnect: [byUser()] } },
  })
  const there = await mqtt.connectAsync(`mqtt://127.0.0.1:${second.port}`)
  await there.subscribeAsync("who")
  const heard = new Promise<string>((resolve) => there.once("message", (_, payload) => resolve(String(payload))))
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`, { clientId: "fleet-b", username: "siteB" })
  await client.publishAsync("who", "site b", { qos: 1 })
  t.is(await heard, "site b")
  const { connack } = await RawClient.connect(target, { clientId: "fleet-x", username: "nowhere" })
  t.is((connack as { reasonCode?: number }).reasonCode, 0x88)
  await Promise.all([there, client].map((one) => one.endAsync()))
})
