/** MQTT 5 sections 1.5, 2.2, 3.3 to 3.7, 4.3 to 4.9: messages and their acknowledgements, against raw packets. */
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import type { IPublishPacket } from "mqtt-packet"
import { kept, publish, subscribe } from "./packets.ts"
import { RawClient, start, type Target } from "./raw.ts"

async function reader(target: Target, filter: string, options: object = {}, connect: object = {}): Promise<RawClient> {
  const { client } = await RawClient.connect(target, connect)
  client.send(subscribe(filter, options))
  await client.expect("suback")
  return client
}

const writer = async (target: Target): Promise<RawClient> => (await RawClient.connect(target)).client
const published = (packets: readonly { cmd: string }[]): IPublishPacket[] =>
  packets.filter(({ cmd }) => cmd === "publish") as IPublishPacket[]

test("MQTT-1.5.4-3 MQTT-4.7.3-4: U+FEFF in a topic is a character, and no topic is normalized", async (t) => {
  const target = await start(t)
  const client = await reader(target, "#", { qos: 0 })
  const topics = ["\uFEFFa", "e\u0301", "\u00e9", "A", "a", "/a", "a/", " a "]
  for (const topic of topics) client.send(publish(topic, topic))
  t.deepEqual(
    published(await client.settle()).map(({ topic }) => topic),
    topics,
  )
  const exact = await reader(target, "\u00e9", { qos: 0 })
  for (const topic of topics) client.send(publish(topic, topic))
  t.deepEqual(
    published(await exact.settle()).map(({ topic }) => topic),
    ["\u00e9"],
  )
})

test("MQTT-1.5.7-1 MQTT-3.3.2-1 MQTT-3.3.2-13 MQTT-3.3.2-14 MQTT-3.3.2-19 MQTT-4.7.0-1 MQTT-4.7.3-2: texts of a PUBLISH that are none close it", async (t) => {
  const target = await start(t)
  for (const [what, bytes, code] of [
    ["a name of a user property", "30 0b 0001 61 07 26 0001 ff 0001 61", 0x81],
    ["a value of a user property", "30 0b 0001 61 07 26 0001 61 0001 ff", 0x81],
    ["the topic", "30 04 0001 ff 00", 0x81],
    ["a topic with NUL", "30 04 0001 00 00", 0x81],
    ["a topic with +", "30 04 0001 2b 00", 0x90],
    ["the response topic", "30 08 0001 61 04 08 0001 ff", 0x81],
    ["a response topic with #", "30 08 0001 61 04 08 0001 23", 0x82],
    ["the content type", "30 08 0001 61 04 03 0001 ff", 0x81],
  ] as const) {
    const client = await writer(target)
    client.sendBytes(bytes)
    t.deepEqual(await client.closed(), { closed: true, code }, what)
  }
})

test("MQTT-2.2.1-2 MQTT-4.3.1-1: QoS 0 has no packet identifier and DUP 0", async (t) => {
  const target = await start(t)
  const client = await reader(target, "z", { qos: 2 })
  client.send(publish("z", "x"))
  const got = await client.expect("publish")
  t.deepEqual(
    [got.messageId ?? 0, got.dup, String(got.payload)],
    [0, false, "x"],
    "an identifier would stand in the payload",
  )
})

test("MQTT-2.2.1-4 MQTT-4.3.2-1 MQTT-4.3.3-1 MQTT-4.3.2-2 MQTT-4.3.3-2 MQTT-3.3.1-3: each delivery has a free identifier, not 0, and DUP 0 whatever the publisher's was", async (t) => {
  const target = await start(t)
  const client = await reader(target, "id", { qos: 2 })
  const from = await writer(target)
  for (let n = 1; n <= 20; n++) from.send(publish("id", "x", { qos: (n % 2) + 1, messageId: n, dup: true }))
  const ids = []
  for (let n = 0; n < 20; n++) {
    const got = await client.expect("publish")
    t.false(got.dup)
    ids.push(got.messageId)
  }
  t.is(new Set(ids).size, 20)
  t.false(ids.includes(0))
})

test("MQTT-2.2.1-5 MQTT-3.3.4-1 MQTT-4.3.2-4 MQTT-4.3.2-5 MQTT-4.3.3-12: each QoS is answered as it must be with its identifier, which is free behind it", async (t) => {
  const target = await start(t)
  const client = await reader(target, "ack", { qos: 0 })
  const from = await writer(target)
  for (const round of ["one", "two"]) {
    from.send(publish("ack", `0 ${round}`))
    from.send(publish("ack", `1 ${round}`, { qos: 1, messageId: 77 }))
    t.is((await from.next())?.cmd, "puback")
    from.send(publish("ack", `2 ${round}`, { qos: 2, messageId: 77 }))
    t.like(await from.next(), { cmd: "pubrec", messageId: 77 })
    from.send({ cmd: "pubrel", messageId: 77 })
    t.like(await from.next(), { cmd: "pubcomp", messageId: 77 })
  }
  const got = published(await client.settle()).map(({ payload }) => String(payload))
  t.deepEqual(got, ["0 one", "1 one", "2 one", "0 two", "1 two", "2 two"], "the same identifier is a new message")
})

test("MQTT-4.3.3-9: behind a PUBREC that refuses, the identifier is free", async (t) => {
  const target = await start(t, {
    auth: {
      acl: [
        { deny: "publish", topic: "no" },
        { allow: "all", topic: "#" },
      ],
    },
  })
  const client = await reader(target, "yes", { qos: 0 })
  const from = await writer(target)
  from.send(publish("no", "x", { qos: 2, messageId: 5 }))
  t.is((await from.expect("pubrec")).reasonCode, 0x87)
  from.send(publish("yes", "new", { qos: 2, messageId: 5 }))
  t.is((await from.expect("pubrec")).reasonCode, 0)
  t.is(String((await client.expect("publish")).payload), "new")
})

test("MQTT-3.4.2-1 MQTT-3.5.2-1 MQTT-3.6.2-1 MQTT-3.7.2-1: acknowledgements have a code of their list, and one beyond it closes", async (t) => {
  const target = await start(t)
  const from = await writer(target)
  from.send(publish("nobody", "x", { qos: 1, messageId: 1 }))
  t.is((await from.expect("puback")).reasonCode, 0x10)
  from.send(publish("nobody", "x", { qos: 2, messageId: 2 }))
  t.is((await from.expect("pubrec")).reasonCode, 0x10)
  from.send({ cmd: "pubrel", messageId: 99 })
  t.is((await from.expect("pubcomp")).reasonCode, 0x92)
  from.send({ cmd: "pubrec", messageId: 98, reasonCode: 0 })
  t.is((await from.expect("pubrel")).reasonCode, 0x92)
  for (const bytes of ["40 03 0001 05", "50 03 0001 05", "62 03 0001 05", "70 03 0001 05"]) {
    const client = await writer(target)
    client.sendBytes(bytes)
    t.deepEqual(await client.closed(), { closed: true, code: 0x82 }, bytes)
  }
})

test("MQTT-3.4.2-2 MQTT-3.4.2-3 MQTT-3.5.2-2 MQTT-3.5.2-3 MQTT-3.6.2-2 MQTT-3.6.2-3 MQTT-3.7.2-2 MQTT-3.7.2-3: acknowledgements fit the smallest client", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target, { properties: { maximumPacketSize: 16 } })
  client.send(publish("n", "", { qos: 1, messageId: 1 }))
  client.send(publish("n", "", { qos: 2, messageId: 2 }))
  client.send({ cmd: "pubrel", messageId: 2 })
  client.send({ cmd: "pubrec", messageId: 3, reasonCode: 0 })
  const got = await client.settle()
  t.deepEqual(
    got.map(({ cmd }) => cmd),
    ["puback", "pubrec", "pubcomp", "pubrel"],
  )
  t.true(got.every(({ length }) => (length ?? 0) <= 14))
})

test("MQTT-3.3.1-1 MQTT-4.4.0-1 MQTT-4.3.2-3 MQTT-4.3.3-3 MQTT-4.3.3-4 MQTT-4.3.3-5 MQTT-4.3.3-6: what is not acknowledged comes again on the next connection only, under its identifier, with DUP; a PUBREL in place of its PUBLISH", async (t) => {
  const target = await start(t)
  const client = await reader(target, "again", { qos: 2 }, kept("again"))
  const from = await writer(target)
  from.send(publish("again", "one", { qos: 1, messageId: 1 }))
  const one = await client.expect("publish")
  from.send(publish("again", "two", { qos: 2, messageId: 2 }))
  const two = await client.expect("publish")
  from.send(publish("again", "three", { qos: 2, messageId: 3 }))
  const three = await client.expect("publish")
  client.send({ cmd: "pubrec", messageId: three.messageId, reasonCode: 0 })
  t.is((await client.expect("pubrel")).messageId, three.messageId)
  await sleep(300)
  t.deepEqual(await client.settle(), [], "nothing comes again while the connection stands")
  client.drop()
  const { client: back } = await RawClient.connect(target, kept("again"))
  const got = [await back.next(), await back.next(), await back.next()]
  t.like(got[0], { cmd: "publish", messageId: one.messageId, dup: true, qos: 1 })
  t.like(got[1], { cmd: "publish", messageId: two.messageId, dup: true, qos: 2 })
  t.like(got[2], { cmd: "pubrel", messageId: three.messageId })
  back.send({ cmd: "pubcomp", messageId: three.messageId })
  back.send({ cmd: "pubrec", messageId: two.messageId, reasonCode: 0 })
  await back.expect("pubrel")
  back.send({ cmd: "pubcomp", messageId: two.messageId })
  back.send({ cmd: "puback", messageId: one.messageId })
  t.deepEqual(await back.settle(), [])
  back.drop()
  const { client: last } = await RawClient.connect(target, kept("again"))
  t.deepEqual(await last.settle(), [])
})

test("MQTT-4.4.0-2: what a client refuses counts as acknowledged and does not come again", async (t) => {
  const target = await start(t)
  const client = await reader(target, "refuse", { qos: 2 }, kept("refuser"))
  const from = await writer(target)
  for (const qos of [1, 2]) {
    from.send(publish("refuse", "x", { qos, messageId: qos }))
    const { messageId } = await client.expect("publish")
    client.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId, reasonCode: 0x80 })
  }
  await client.settle()
  client.drop()
  const { client: back } = await RawClient.connect(target, kept("refuser"))
  t.deepEqual(await back.settle(), [])
})

test("MQTT-3.3.2-3 MQTT-3.3.2-4 MQTT-3.3.2-15 MQTT-3.3.2-16 MQTT-3.3.2-17 MQTT-3.3.2-18 MQTT-3.3.2-20: what a message says of itself arrives as it was, user properties in their order", async (t) => {
  const target = await start(t)
  const client = await reader(target, "as/+/it/#", { qos: 1 })
  const properties = {
    payloadFormatIndicator: true,
    responseTopic: "answer/to",
    correlationData: Buffer.from([0, 255, 1]),
    userProperties: { z: ["2", "1"], a: "3" },
    contentType: "text/plain",
  }
  ;(await writer(target)).send(publish("as/x/it/was", "text", { qos: 1, messageId: 1, properties }))
  const got = await client.expect("publish")
  t.is(got.topic, "as/x/it/was")
  const { userProperties, ...others } = properties
  t.like(got.properties, others)
  t.is(JSON.stringify(got.properties?.userProperties), JSON.stringify(userProperties))
})

test("MQTT-3.3.2-5 MQTT-3.3.2-6 MQTT-4.3.3-7 MQTT-4.3.3-13: a message that has expired is not delivered, one that waited tells the rest of its time, one that was sent is not taken back", async (t) => {
  const target = await start(t)
  const client = await reader(target, "exp", { qos: 2 }, kept("expiring"))
  const from = await writer(target)
  from.send(publish("exp", "sent", { qos: 2, messageId: 9, properties: { messageExpiryInterval: 1 } }))
  const sent = await client.expect("publish")
  client.drop()
  await sleep(50)
  from.send(publish("exp", "short", { qos: 1, messageId: 1, properties: { messageExpiryInterval: 1 } }))
  from.send(publish("exp", "long", { qos: 1, messageId: 2, properties: { messageExpiryInterval: 100 } }))
  await from.settle()
  await sleep(1_500)
  const { client: back } = await RawClient.connect(target, kept("expiring"))
  const again = await back.expect("publish")
  t.like(again, { messageId: sent.messageId, dup: true }, "its sequence goes on")
  const long = await back.expect("publish")
  t.is(String(long.payload), "long")
  t.true((long.properties?.messageExpiryInterval ?? 0) <= 99)
  back.send({ cmd: "pubrec", messageId: again.messageId, reasonCode: 0 })
  t.is((await back.expect("pubrel")).messageId, again.messageId)
})

test("MQTT-3.3.2-7 MQTT-3.3.2-12: every alias up to the maximum is taken, and none outlives its connection", async (t) => {
  const target = await start(t, { mqtt: { topicAliasMaximum: 5 } })
  const client = await reader(target, "al/#", { qos: 0 })
  const { client: from } = await RawClient.connect(target, kept("aliases"))
  for (let topicAlias = 1; topicAlias <= 5; topicAlias++)
    from.send(publish(`al/${topicAlias}`, "set", { properties: { topicAlias } }))
  for (let topicAlias = 1; topicAlias <= 5; topicAlias++) from.send(publish("", "used", { properties: { topicAlias } }))
  const got = published(await client.settle()).map(({ topic, payload }) => `${topic} ${payload}`)
  t.deepEqual(got, [1, 2, 3, 4, 5].map((n) => `al/${n} set`).concat([1, 2, 3, 4, 5].map((n) => `al/${n} used`)))
  from.drop()
  const { client: next } = await RawClient.connect(target, kept("aliases"))
  next.send(publish("", "x", { properties: { topicAlias: 1 } }))
  const { closed, code } = await next.closed()
  t.true(closed && (code === 0x82 || code === 0x94), String(code))
})

test("MQTT-3.3.4-7: more than the receive maximum is 0x93, and what is done counts no more", async (t) => {
  const target = await start(t, { mqtt: { receiveMaximum: 2 } })
  const from = await writer(target)
  for (let round = 0; round < 3; round++) {
    from.send(publish("rm", "x", { qos: 1, messageId: 1 }))
    await from.expect("puback")
    for (const dup of [false, true]) {
      from.send(publish("rm", "x", { qos: 2, messageId: 1, dup }))
      await from.expect("pubrec")
    }
    from.send({ cmd: "pubrel", messageId: 1 })
    await from.expect("pubcomp")
  }
  for (const messageId of [1, 2, 3]) from.send(publish("rm", "x", { qos: 2, messageId }))
  t.deepEqual(await from.closed(), { closed: true, code: 0x93 })
})

test("MQTT-3.3.4-9 MQTT-3.3.4-10 MQTT-4.9.0-1 MQTT-4.9.0-2 MQTT-4.9.0-3: the client's receive maximum bounds what is under way, and nothing else waits for it", async (t) => {
  const target = await start(t)
  const client = await reader(target, "flow", { qos: 2 }, { properties: { receiveMaximum: 2 } })
  const from = await writer(target)
  for (let n = 1; n <= 6; n++) from.send(publish("flow", String(n), { qos: (n % 2) + 1, messageId: n }))
  await from.settle()
  from.send(publish("flow", "zero"))
  client.send(subscribe("other", { qos: 0 }))
  const first = await client.settle()
  t.is(published(first).filter(({ qos }) => qos > 0).length, 2)
  t.true(
    first.some(({ cmd }) => cmd === "suback"),
    "a SUBACK does not wait",
  )
  t.true(
    published(first).some(({ payload }) => String(payload) === "zero"),
    "QoS 0 does not wait",
  )
  let seen = 2
  for (const packet of published(first).filter(({ qos }) => qos > 0)) {
    client.send({ cmd: packet.qos === 1 ? "puback" : "pubrec", messageId: packet.messageId, reasonCode: 0 })
    if (packet.qos === 2) {
      await client.expect("pubrel")
      client.send({ cmd: "pubcomp", messageId: packet.messageId })
    }
  }
  seen += published(await client.settle()).length
  t.is(seen, 4, "each acknowledgement makes room for one")
})

test("MQTT-4.5.0-1 MQTT-4.6.0-5 MQTT-4.6.0-6 MQTT-4.2-1: every matching session has what was acknowledged, in the order it came", async (t) => {
  const target = await start(t)
  const sessions = ["s1", "s2", "s3"]
  for (const id of sessions) (await reader(target, "own/#", { qos: 1 }, kept(id))).drop()
  await sleep(50)
  const from = await writer(target)
  const many = Array.from({ length: 50 }, (_, n) => String(n))
  for (const [at, n] of many.entries()) from.send(publish("own/topic", n, { qos: 1, messageId: at + 1 }))
  for (const _ of many) await from.expect("puback")
  for (const id of sessions) {
    const { client } = await RawClient.connect(target, kept(id))
    const got = []
    for (const _ of many) {
      const packet = await client.expect("publish")
      got.push(String(packet.payload))
      client.send({ cmd: "puback", messageId: packet.messageId })
    }
    t.deepEqual(got, many)
  }
})

test("MQTT-3.3.1-7: an empty retained message is not kept", async (t) => {
  const target = await start(t)
  const from = await writer(target)
  from.send(publish("empty", "", { retain: true, qos: 1, messageId: 1 }))
  await from.expect("puback")
  const client = await reader(target, "empty")
  t.deepEqual(await client.settle(), [])
  t.is((await fetch(`http://127.0.0.1:${target.port}/t/empty`)).status, 404)
})

test("MQTT-4.7.3-3: a topic may be 65,535 bytes long", async (t) => {
  const target = await start(t)
  const client = await reader(target, "#", { qos: 0 })
  const topic = "t".repeat(65_535)
  client.send(publish(topic, "x"))
  t.is((await client.expect("publish")).topic, topic)
})
