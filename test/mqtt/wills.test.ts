/** Wills are publishes: topic routes and policies see them, also those that a broker behind the gateway is to publish. */
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import test, { type ExecutionContext } from "ava"
import { definePolicy } from "../../src/index.ts"
import { fakeBroker } from "./fake-broker.ts"
import { kept, publish, subscribe } from "./packets.ts"
import { counted, RawClient, start } from "./raw.ts"

const will = (topic: string, rest: object = {}) => ({
  will: { topic, payload: Buffer.from("gone"), qos: 1 as const, retain: true, ...rest },
})

test("a will takes the topic routes, with the name of its client", async (t) => {
  const routes = [{ when: { topic: "will/+", clientId: "mine" }, to: { topic: "archive/{topic}" } }]
  const target = await start(t, { routes })
  const { client: watcher } = await RawClient.connect(target)
  watcher.send(subscribe("#", { qos: 1 }))
  await watcher.expect("suback")
  const own = { ...kept("mine"), ...will("will/a") }
  const { client } = await RawClient.connect(target, own)
  client.send(subscribe("will/#", { qos: 1, nl: true }))
  await client.expect("suback")
  client.drop()
  const topics = [await watcher.expect("publish"), await watcher.expect("publish")].map(({ topic }) => topic)
  t.deepEqual(topics.sort(), ["archive/will/a", "will/a"])
  const { client: back } = await RawClient.connect(target, kept("mine"))
  t.deepEqual(await back.settle(), [], "no local holds on that way, too: MQTT-3.8.3-3")
  ;(await RawClient.connect(target, { clientId: "other", ...will("will/b") })).client.drop()
  t.is((await watcher.expect("publish")).topic, "will/b")
  t.deepEqual(await watcher.settle(), [])
})

test("policies of onPublish change wills and refuse them", async (t) => {
  const judge = definePolicy({
    name: "judge",
    deadlineMs: 5_000,
    fallback: "reject",
    decide: (message) =>
      message.topic === "will/refused" ? { reject: { reason: 0x87 } } : { topic: `seen/${message.topic}` },
  })
  const target = await start(t, { broker: { hooks: { onPublish: [judge()] } } })
  const { client: watcher } = await RawClient.connect(target)
  watcher.send(subscribe("#", { qos: 1 }))
  await watcher.expect("suback")
  for (const topic of ["will/refused", "will/taken"]) (await RawClient.connect(target, will(topic))).client.drop()
  t.like(await watcher.expect("publish"), { topic: "seen/will/taken", qos: 1 })
  t.deepEqual(await watcher.settle(), [])
})

test("the will of a proxied client is judged with its CONNECT, and moved as its publishes are", async (t) => {
  const behind = await fakeBroker(t)
  const target = await start(t, {
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind.port}`] } },
    routes: [
      {
        when: { protocol: "mqtt" },
        to: "brokers",
        use: [{ bodyLimit: { bytes: 10 } }, { rewrite: { topic: "site/{topic}" } }],
      },
    ],
    auth: {
      acl: [
        { deny: "publish", topic: "site/secret" },
        { allow: "all", topic: "#" },
      ],
    },
  })
  const properties = { willDelayInterval: 7, userProperties: { a: "b" } }
  const { connect } = await behind.meet(target, will("state", { properties }))
  t.like(connect.will, { topic: "site/state", qos: 1, retain: true })
  t.is(String(connect.will?.payload), "gone")
  t.like(connect.will?.properties, { willDelayInterval: 7 })
  const refused = async (packet: object): Promise<number | undefined> => {
    const { client, connack } = await RawClient.connect(target, packet)
    t.true((await client.closed()).closed)
    return connack?.cmd === "connack" ? (connack.reasonCode ?? connack.returnCode) : undefined
  }
  t.is(await refused(will("secret")), 0x87)
  t.is(await refused({ ...will("secret"), protocolVersion: 4 }), 5)
  t.is(await refused(will("state", { payload: Buffer.from("more than ten") })), 0x83)
  const { connect: plain } = await behind.meet(target, { protocolVersion: 4, ...will("state", { retain: false }) })
  t.like(plain.will, { topic: "site/state", retain: false })
})

/** A service that takes what routes send it and answers when it is told to. */
async function service(t: ExecutionContext<unknown>) {
  const held: ServerResponse[] = []
  const server = createServer((request, response) => {
    request.resume()
    held.push(response)
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => server.closeAllConnections())
  t.teardown(() => server.close())
  const endpoints = [`127.0.0.1:${(server.address() as AddressInfo).port}`]
  const until = async (count: number): Promise<void> => {
    for (const end = Date.now() + 10_000; held.length < count && Date.now() < end; ) await sleep(10)
  }
  return {
    upstreams: { slow: { endpoints } },
    routes: [{ when: { topic: "will/#" }, to: "slow" }],
    /** How many requests came, once there are so many or none came for long. */
    async asked(count: number): Promise<number> {
      await until(count)
      await sleep(200)
      return held.length
    },
    answer: (): void => {
      for (const response of held.splice(0)) response.writeHead(204).end()
    },
  }
}

test("wills that a route takes its time for are bounded, and those beyond are counted", async (t) => {
  const { asked, answer, ...slow } = await service(t)
  const target = await start(t, { workers: 1, broker: { maxPendingWills: 2 }, ...slow })
  const leave = async (count: number): Promise<void> => {
    for (let left = 0; left < count; left++) (await RawClient.connect(target, will("will/a"))).client.drop()
  }
  await leave(5)
  t.is(await asked(2), 2)
  t.is(counted(target, "tidegate_dropped_total", { reason: "wills-full" }), 3)
  t.is(counted(target, "tidegate_pending_wills"), 2)
  answer()
  for (const end = Date.now() + 5_000; counted(target, "tidegate_pending_wills") > 0 && Date.now() < end; )
    await sleep(50)
  await leave(2)
  t.is(await asked(2), 2)
  answer()
})

test("a will that a route was seeing when the gateway ended is published by the next one", async (t) => {
  const { asked, answer, ...slow } = await service(t)
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-wills-"))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  const first = await start(t, { dataDir, ...slow })
  const { client } = await RawClient.connect(first, { ...kept("gone"), ...will("will/a") })
  client.drop()
  t.is(await asked(1), 1)
  await first.gateway.close()
  answer()
  const second = await start(t, { dataDir, ...slow })
  t.is(await asked(1), 1)
  t.is(counted(second, "tidegate_pending_wills"), 1, "it is a will still")
  t.is(counted(second, "tidegate_delayed_messages"), 0)
  answer()
  for (const end = Date.now() + 5_000; counted(second, "tidegate_pending_wills") > 0 && Date.now() < end; )
    await sleep(50)
  t.is(counted(second, "tidegate_messages_total", { direction: "in" }), 0, "nobody sent it now")
  await second.gateway.close()
  await start(t, { dataDir, ...slow })
  await sleep(1_000)
  t.is(await asked(0), 0, "once it is published it is forgotten")
})

test("a will that is due when a gateway starts takes its routes and reaches every session that was kept", async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-wills-"))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  const config = { dataDir, workers: 1, routes: [{ when: { topic: "will/+" }, to: { topic: "archive/{topic}" } }] }
  const first = await start(t, config)
  const names = ["a", "b", "c", "d"]
  for (const name of names) {
    const { client } = await RawClient.connect(first, kept(name))
    client.send(subscribe("#", { qos: 1 }))
    await client.expect("suback")
    client.drop()
  }
  const late = will("will/late", { retain: false, properties: { willDelayInterval: 1 } })
  ;(await RawClient.connect(first, { ...kept("gone"), ...late })).client.drop()
  await sleep(200)
  await first.gateway.close()
  await sleep(1_000)
  const second = await start(t, config)
  for (const name of names) {
    const { client } = await RawClient.connect(second, kept(name))
    const topics = [await client.expect("publish"), await client.expect("publish")].map(({ topic }) => topic)
    t.deepEqual(topics, ["will/late", "archive/will/late"], name)
  }
})

test("the will of a proxied client costs nothing of a rate limit", async (t) => {
  const behind = await fakeBroker(t)
  const target = await start(t, {
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind.port}`] } },
    routes: [
      {
        when: { protocol: "mqtt" },
        to: "brokers",
        use: [{ rateLimit: { perSecond: 0.001, burst: 1, key: "clientId" } }],
      },
    ],
  })
  for (let time = 0; time < 3; time++) {
    const { client, broker } = await behind.meet(target, { clientId: "same", ...will("state") })
    if (time < 2) {
      client.drop()
      continue
    }
    client.send(publish("state", "1", { qos: 1, messageId: 1 }))
    broker.send({ cmd: "puback", messageId: (await broker.expect("publish")).messageId })
    t.like(await client.expect("puback"), { reasonCode: 0 })
    client.send(publish("state", "2", { qos: 1, messageId: 2 }))
    t.like(await client.expect("puback"), { reasonCode: 0x97 }, "publishes cost as ever")
  }
})
