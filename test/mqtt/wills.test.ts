/** Wills are publishes: topic routes and policies see them, also those that a broker behind the gateway is to publish. */
import test from "ava"
import { definePolicy } from "../../src/index.ts"
import { fakeBroker } from "./fake-broker.ts"
import { kept, subscribe } from "./packets.ts"
import { RawClient, start } from "./raw.ts"

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
