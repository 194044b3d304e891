/** `onDeliver` for clients of other brokers, packet by packet: acknowledgements in the client's place and their order, topic aliases, goodbyes. */
import test, { type ExecutionContext } from "ava"
import type { Verdict } from "../../src/index.ts"
import { definePolicy } from "../../src/index.ts"
import { type FakeBroker, fakeBroker } from "./fake-broker.ts"
import { counted, type RawClient, start, type Target } from "./raw.ts"

/** What the payload asks for: "drop", "to <topic>", "say <payload>"; anything else passes. */
const obedient = definePolicy({
  name: "obedient",
  deadlineMs: 5_000,
  fallback: "reject",
  reads: () => ["payload"],
  decide: (message): Verdict => {
    const [word, value = ""] = (message.text() ?? "").split(" ")
    seen.push(`${message.topic} ${message.text()}`)
    if (word === "drop") return { drop: true }
    if (word === "to") return { topic: value }
    return word === "say" ? { payload: value } : undefined
  },
})
const seen: string[] = []

const config = ({ port }: FakeBroker, isAsked: boolean) => ({
  workers: 1,
  admin: false,
  dataDir: false,
  listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
  upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${port}`] } },
  routes: [{ when: { protocol: "mqtt" }, to: "brokers" }],
  broker: { hooks: { onDeliver: isAsked ? [obedient()] : [] } },
})

async function meet(t: ExecutionContext, connect: object = {}, isAsked = true) {
  const behind = await fakeBroker(t)
  const target = await start(t, config(behind, isAsked))
  return { target, behind, ...(await behind.meet(target, connect)) }
}

const publish = (topic: string, payload: string, rest: object = {}) => ({
  ...{ cmd: "publish", topic, payload, qos: 0, dup: false, retain: false },
  ...rest,
})
const taking = (topicAliasMaximum: number) => ({ properties: { topicAliasMaximum } })
const aliased = (topic: string, alias: number, payload: string) =>
  publish(topic, payload, { properties: { topicAlias: alias } })

/** The next publish, as "topic#alias payload". */
async function next(client: RawClient): Promise<string> {
  const { topic, payload, properties } = await client.expect("publish")
  const alias = properties?.topicAlias === undefined ? "" : `#${properties.topicAlias}`
  return `${topic}${alias} ${payload}`
}

const dropped = (target: Target, reason: string) => counted(target, "tidegate_dropped_total", { reason })

for (const protocolVersion of [4, 5] as const) {
  test(`what is withheld is acknowledged in the client's place, QoS 2 to its end: version ${protocolVersion}`, async (t) => {
    const { client, broker, target } = await meet(t, { protocolVersion })
    broker.send(publish("a", "drop", { qos: 1, messageId: 7 }))
    t.like(await broker.next(), { cmd: "puback", messageId: 7 })
    broker.send(publish("a", "drop", { qos: 2, messageId: 8 }))
    t.like(await broker.next(), { cmd: "pubrec", messageId: 8 })
    broker.send(publish("a", "drop", { qos: 2, messageId: 8, dup: true }))
    t.like(await broker.next(), { cmd: "pubrec", messageId: 8 }, "a second time, and nobody is asked again")
    broker.send({ cmd: "pubrel", messageId: 8 })
    t.like(await broker.next(), { cmd: "pubcomp", messageId: 8 })
    // The same identifier is free again, and what passes is the client's to acknowledge.
    broker.send(publish("a", "x", { qos: 2, messageId: 8 }))
    t.like(await client.next(), { cmd: "publish", messageId: 8, qos: 2 })
    client.send({ cmd: "pubrec", messageId: 8 })
    t.like(await broker.next(), { cmd: "pubrec", messageId: 8 })
    broker.send({ cmd: "pubrel", messageId: 8 })
    t.like(await client.next(), { cmd: "pubrel", messageId: 8 })
    client.send({ cmd: "pubcomp", messageId: 8 })
    t.like(await broker.next(), { cmd: "pubcomp", messageId: 8 })
    broker.send(publish("a", "drop"))
    broker.send(publish("a", "say last", { qos: 1, messageId: 9, dup: true, retain: true }))
    t.like(await client.next(), { cmd: "publish", messageId: 9, dup: true, retain: true, qos: 1 })
    t.is(dropped(target, "policy"), 3)
  })
}

test("the gateway's acknowledgements keep the order of the publishes, behind those that the client owes", async (t) => {
  const { client, broker } = await meet(t)
  const send = (text: string, qos: 1 | 2, id: number) => broker.send(publish("a", text, { qos, messageId: id }))
  send("one", 1, 1)
  send("drop", 1, 2)
  send("drop", 2, 3)
  send("four", 2, 4)
  send("drop", 2, 5)
  send("six", 1, 6)
  for (const id of [1, 4, 6]) t.like(await client.expect("publish"), { messageId: id })
  t.like(await broker.next(), { cmd: "pubrec", messageId: 3 }, "QoS 2 has an order of its own")
  client.send({ cmd: "pubrec", messageId: 4 })
  t.like(await broker.next(), { cmd: "pubrec", messageId: 4 })
  t.like(await broker.next(), { cmd: "pubrec", messageId: 5 })
  client.send({ cmd: "puback", messageId: 1 })
  t.like(await broker.next(), { cmd: "puback", messageId: 1 })
  t.like(await broker.next(), { cmd: "puback", messageId: 2 })
  client.send({ cmd: "puback", messageId: 6 })
  t.like(await broker.next(), { cmd: "puback", messageId: 6 })
})

test("an alias shows policies its topic; what was withheld or sent elsewhere has not told the client", async (t) => {
  const { client, broker, target } = await meet(t, taking(5))
  broker.send(aliased("first", 1, "x"))
  t.is(await next(client), "first#1 x")
  broker.send(aliased("", 1, "say y"))
  t.is(await next(client), "#1 y")
  broker.send(aliased("second", 1, "drop"))
  broker.send(aliased("", 1, "z"))
  t.is(await next(client), "second#1 z", "told with its topic, since the client had not heard of it")
  broker.send(aliased("", 1, "z"))
  t.is(await next(client), "#1 z")
  broker.send(aliased("third", 2, "to elsewhere"))
  t.is(await next(client), "elsewhere to elsewhere")
  broker.send(aliased("", 2, "say both"))
  t.is(await next(client), "third#2 both")
  broker.send(aliased("", 2, "to elsewhere"))
  t.is(await next(client), "elsewhere to elsewhere")
  broker.send(aliased("", 2, "x"))
  t.is(await next(client), "#2 x")
  t.deepEqual(seen.filter((line) => line.startsWith("third")).length, 4)
  t.is(dropped(target, "policy"), 1)
})

test("aliases from before a policy came are known to it, and what it left behind is put right when it is gone", async (t) => {
  const { client, broker, target, behind } = await meet(t, taking(5), false)
  broker.send(aliased("early", 3, "drop"))
  t.is(await next(client), "early#3 drop")
  await target.gateway.reload(config(behind, true))
  broker.send(aliased("", 3, "say now"))
  t.is(await next(client), "#3 now")
  t.true(seen.includes("early say now"))
  broker.send(aliased("late", 4, "drop"))
  broker.send(publish("a", "x", { qos: 1, messageId: 1 }))
  broker.send(publish("a", "drop", { qos: 1, messageId: 2 }))
  broker.send(publish("a", "drop", { qos: 2, messageId: 3 }))
  t.is(await next(client), "a x")
  t.like(await broker.next(), { cmd: "pubrec", messageId: 3 })
  await target.gateway.reload(config(behind, false))
  broker.send(aliased("", 4, "drop"))
  t.is(await next(client), "late#4 drop")
  broker.send(aliased("", 4, "drop"))
  t.is(await next(client), "#4 drop")
  broker.send({ cmd: "pubrel", messageId: 3 })
  t.like(await broker.next(), { cmd: "pubcomp", messageId: 3 })
  client.send({ cmd: "puback", messageId: 1 })
  t.like(await broker.next(), { cmd: "puback", messageId: 1 })
  t.like(await broker.next(), { cmd: "puback", messageId: 2 })
})

test("a topic in place of an unknown alias counts towards the client's maximum packet size", async (t) => {
  const { client, broker, target } = await meet(t, { properties: { topicAliasMaximum: 5, maximumPacketSize: 60 } })
  broker.send(aliased("l".repeat(60), 1, "drop"))
  broker.send({ ...aliased("", 1, "x"), qos: 1, messageId: 4 })
  t.like(await broker.next(), { cmd: "puback", messageId: 4 })
  t.is(dropped(target, "packet-too-large"), 1)
  broker.send(publish("a", "x"))
  t.is(await next(client), "a x")
})

test("a broker that breaks the client's bounds loses it", async (t) => {
  const breaks: readonly ((broker: RawClient) => void)[] = [
    (broker) => broker.send(aliased("", 2, "an alias that was never set")),
    (broker) => broker.send(aliased("a", 6, "above the maximum")),
    (broker) => {
      for (const id of [1, 2, 3]) broker.send(publish("a", "x", { qos: 1, messageId: id }))
    },
  ]
  for (const act of breaks) {
    const { client, broker } = await meet(t, { properties: { topicAliasMaximum: 5, receiveMaximum: 2 } })
    act(broker)
    t.deepEqual(await client.closed(5_000), { closed: true, code: 0x9c })
  }
})
