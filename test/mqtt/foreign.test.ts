/** What the specification allows and foreign clients and their suites do not expect: none of it happens here. */
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import mqtt from "mqtt"
import { definePolicy } from "../../src/index.ts"
import { publish, subscribe, unsubscribe } from "./packets.ts"
import { RawClient, start, type Target } from "./raw.ts"

/** Clients on every worker that publish to a topic all the time. */
async function storm(target: Target, topic: string): Promise<() => void> {
  const writers = await Promise.all(Array.from({ length: 8 }, () => RawClient.connect(target)))
  const timer = setInterval(() => {
    for (const { client } of writers) for (let n = 0; n < 5; n++) client.send(publish(topic, "x"))
  }, 1)
  return () => {
    clearInterval(timer)
    for (const { client } of writers) client.drop()
  }
}

test("MQTT5 section 3.8.4: SUBACK comes ahead of what the subscription brings, and everything behind it in order", async (t) => {
  const target = await start(t)
  const stop = await storm(target, "storm/all")
  const readers = await Promise.all(Array.from({ length: 4 }, () => RawClient.connect(target)))
  for (let round = 0; round < 40; round++)
    for (const { client } of readers) {
      client.send(subscribe("storm/#"))
      t.is((await client.next())?.cmd, "suback")
      t.is((await client.next())?.cmd, "publish")
      client.send(unsubscribe("storm/#"))
      await client.settle()
    }
  stop()
})

test("what else a client gets waits no longer than SUBACK does, over WebSocket too", async (t) => {
  const target = await start(t)
  const stop = await storm(target, "storm/all")
  const reader = await mqtt.connectAsync(`ws://127.0.0.1:${target.port}/mqtt`)
  const seen: number[] = []
  reader.on("message", (topic, payload) => topic === "own" && seen.push(Number(payload)))
  await reader.subscribeAsync("own", { qos: 1 })
  const writer = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`)
  const sent = Array.from({ length: 200 }, (_, n) => n)
  await Promise.all([
    ...sent.map((n) => writer.publishAsync("own", String(n), { qos: 1 })),
    ...sent.map((n) => reader.subscribeAsync(`storm/${n % 2 ? "+" : "#"}`)),
  ])
  while (seen.length < sent.length) await sleep(5)
  t.deepEqual(seen, sent)
  stop()
  await Promise.all([reader.endAsync(), writer.endAsync()])
})

test("a filter that policies let through brings nothing while they are asked about the next one", async (t) => {
  const slow = definePolicy({
    name: "slow",
    deadlineMs: 5_000,
    fallback: "reject",
    decide: async (message) => {
      await sleep(message.topic === "late" ? 100 : 0)
    },
  })
  const target = await start(t, { broker: { hooks: { onSubscribe: [slow()] } } })
  const stop = await storm(target, "early")
  const { client } = await RawClient.connect(target)
  const subscriptions = ["early", "late"].map((topic) => ({ topic, qos: 0 as const }))
  client.send({ cmd: "subscribe", messageId: 1, subscriptions })
  t.is((await client.next())?.cmd, "suback")
  t.is((await client.next())?.cmd, "publish")
  stop()
})

test("MQTT5 section 3.3.2.3.4: a QoS 2 message has its alias beside its topic, the others the alias alone", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target, { properties: { topicAliasMaximum: 1 } })
  client.send(subscribe("sensor/#", { qos: 2 }))
  await client.expect("suback")
  for (const [index, topic] of (["sensor/1", "", "sensor/1", ""] as const).entries()) {
    client.send(publish("sensor/1", "x", { qos: index === 2 ? 2 : 0, messageId: 1 }))
    t.like(await client.expect("publish"), { topic, properties: { topicAlias: 1 } })
  }
})

test("mqtt.js forgets the topic of a QoS 2 message that came by its alias: it gets the topic", async (t) => {
  const { port } = await start(t)
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 5,
    properties: { topicAliasMaximum: 10 },
  })
  const topics: string[] = []
  client.on("message", (topic) => topics.push(topic))
  await client.subscribeAsync("sensor/#", { qos: 2 })
  for (const qos of [2, 2, 1, 2, 1] as const) await client.publishAsync("sensor/1", "x", { qos })
  while (topics.length < 5) await sleep(5)
  t.deepEqual([...new Set(topics)], ["sensor/1"])
  await client.endAsync()
})
