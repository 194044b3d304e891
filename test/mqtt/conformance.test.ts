/** Statements of the MQTT 5 specification, by number, against raw packets. docs/mqtt-conformance.md is made of these titles. */
import test from "ava"
import { RawClient, start } from "./raw.ts"

/** Bytes after a CONNECT, and the reason code they are closed with. */
const BROKEN = [
  ["MQTT-3.1.0-2: a second CONNECT", "10 0d 0004 4d515454 05 02 003c 00 0000", 0x82],
  ["MQTT-2.1.3-1 MQTT-3.8.1-1: reserved flags of a SUBSCRIBE", "80 07 0001 00 0001 61 00", 0x81],
  ["MQTT-3.10.1-1: reserved flags of an UNSUBSCRIBE", "a0 06 0001 00 0001 61", 0x81],
  ["MQTT-3.6.1-1: reserved flags of a PUBREL", "60 02 0001", 0x81],
  ["MQTT-3.14.1-1: reserved flags of a DISCONNECT", "e1 00", 0x81],
  ["MQTT-3.15.1-1: reserved flags of an AUTH", "f1 00", 0x81],
  ["MQTT-3.3.1-4: QoS 3", "36 06 0001 61 0001 00", 0x81],
  ["MQTT-3.3.1-2: DUP at QoS 0", "38 04 0001 61 00", 0x81],
  ["MQTT-3.3.2-2: a wildcard in a topic name", "30 04 0001 23 00", 0x90],
  ["MQTT-3.3.2-8: topic alias 0", "30 07 0001 61 03 230000", 0x94],
  ["MQTT-3.3.2-9: a topic alias above the maximum", "30 07 0001 61 03 23ffff", 0x94],
  ["MQTT-3.3.4-6: a client's PUBLISH with a subscription identifier", "30 06 0001 61 02 0b01", 0x82],
  ["MQTT-2.2.1-3: packet identifier 0", "32 06 0001 61 0000 00", 0x82],
  ["MQTT-3.8.3-2: a SUBSCRIBE without filters", "82 03 0001 00", 0x82],
  ["MQTT-3.8.3-5: reserved subscription options", "82 07 0001 00 0001 61 c0", 0x81],
  ["MQTT-3.8.3-4: no local on a shared subscription", "82 10 0001 00 000a 2473686172652f672f61 04", 0x82],
  ["MQTT-3.10.3-2: an UNSUBSCRIBE without filters", "a2 03 0001 00", 0x82],
  ["MQTT-4.8.2-1: a shared subscription without a group", "82 0f 0001 00 0009 2473686172652f2f61 00", 0x82],
  ["MQTT-1.5.4-1: a topic that is not UTF-8", "30 05 0002 c328 00", 0x81],
  ["MQTT-1.5.4-2: a topic with U+0000", "30 04 0001 00 00", 0x81],
  ["MQTT-1.5.5-1: a remaining length of five bytes", "30 ffffffff7f", 0x81],
  ["MQTT-4.7.1-1: # that is not the last level", "82 0b 0001 00 0005 612f232f62 00", 0x81],
  ["MQTT-4.7.1-2: + beside other characters", "82 08 0001 00 0002 612b 00", 0x81],
  ["MQTT-4.7.3-1: an empty filter", "82 06 0001 00 0000 00", 0x81],
  ["section 2.2.2.2: a property that belongs to another packet", "30 09 0001 61 05 11 00000001 78", 0x81],
  ["section 2.2.2.2: a property that does not exist", "30 06 0001 61 02 7f00", 0x81],
  ["section 3.14.2.2.2: a session expiry at DISCONNECT after none at CONNECT", "e0 07 00 05 1100000001", 0x82],
  ["MQTT-3.14.2-1: an unknown reason code in DISCONNECT", "e0 01 03", 0x82],
  ["MQTT-3.14.2-1: a reason code of servers only in DISCONNECT", "e0 01 8b", 0x82],
  ["section 3.14.2.2.5: a server reference in DISCONNECT", "e0 06 00 04 1c 0001 61", 0x82],
] as const

test("a broken rule closes that connection with its reason code: MQTT-4.13.1-1 MQTT-4.13.2-1", async (t) => {
  const target = await start(t)
  const { client: calm } = await RawClient.connect(target)
  for (const [title, bytes, code] of BROKEN) {
    const { client } = await RawClient.connect(target)
    client.sendBytes(bytes)
    t.deepEqual(await client.closed(), { closed: true, code }, title)
  }
  t.deepEqual(await calm.settle(), [], "nobody else notices")
})

/** First bytes of a connection that must be closed. */
const BROKEN_CONNECTS = [
  ["MQTT-3.1.0-1: the first packet is no CONNECT", "c0 00"],
  ["MQTT-3.1.2-1: another protocol name", "10 0d 0004 4d515458 05 02 003c 00 0000"],
  ["MQTT-3.1.2-3: the reserved flag of a CONNECT", "10 0d 0004 4d515454 05 03 003c 00 0000"],
  ["MQTT-3.1.2-11: a will QoS without a will", "10 0d 0004 4d515454 05 0a 003c 00 0000"],
  ["MQTT-3.1.2-12: will QoS 3", "10 13 0004 4d515454 05 1e 003c 00 0000 00 0001 61 0000"],
  ["MQTT-3.1.2-13: will retain without a will", "10 0d 0004 4d515454 05 22 003c 00 0000"],
] as const

test("a CONNECT that breaks a rule is closed: MQTT-3.1.4-1", async (t) => {
  const target = await start(t)
  for (const [title, bytes] of BROKEN_CONNECTS) {
    const client = await RawClient.open(target)
    client.sendBytes(bytes)
    t.true((await client.closed()).closed, title)
  }
})

const subscribe = (topic: string, options: object = {}) => {
  return { cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos: 2, ...options }] }
}
const publish = (topic: string, payload: string, rest: object = {}) => {
  return { cmd: "publish", topic, payload, qos: 0, dup: false, retain: false, ...rest }
}

test("sessions: MQTT-3.1.2-4 MQTT-3.1.2-5 MQTT-3.2.2-2 MQTT-3.2.2-3 MQTT-3.1.4-3 MQTT-3.1.3-6 MQTT-3.1.3-7", async (t) => {
  const target = await start(t)
  const kept = { clientId: "kept", properties: { sessionExpiryInterval: 60 } }
  const first = await RawClient.connect(target, { ...kept, clean: false })
  const again = await RawClient.connect(target, { ...kept, clean: false })
  const clean = await RawClient.connect(target, kept)
  const present = [first, again, clean].map(({ connack }) => (connack as { sessionPresent?: boolean }).sessionPresent)
  t.deepEqual(present, [false, true, false])
  t.deepEqual(await first.client.closed(), { closed: true, code: 0x8e })
  const { connack } = await RawClient.connect(target, { clientId: "" })
  t.true(
    ((connack as { properties?: { assignedClientIdentifier?: string } }).properties?.assignedClientIdentifier ?? "") !==
      "",
  )
})

test("a silent client is closed after one and a half keep-alives: MQTT-3.1.2-22", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target, { keepalive: 1 })
  const began = Date.now()
  t.deepEqual(await client.closed(), { closed: true, code: 0x8d })
  t.true(Date.now() - began >= 1_400)
})

test("PINGREQ is answered by PINGRESP: MQTT-3.12.4-1", async (t) => {
  const { client } = await RawClient.connect(await start(t))
  client.send({ cmd: "pingreq" })
  t.is((await client.next())?.cmd, "pingresp")
})

test("a will goes when the connection is lost and not after a goodbye: MQTT-3.1.2-8 MQTT-3.1.2-10 MQTT-3.14.4-3", async (t) => {
  const target = await start(t)
  const { client: watcher } = await RawClient.connect(target)
  watcher.send(subscribe("will/#"))
  await watcher.expect("suback")
  const will = (name: string) => ({
    will: { topic: `will/${name}`, payload: Buffer.from(name), qos: 0 as const, retain: false },
  })
  const { client: lost } = await RawClient.connect(target, will("lost"))
  const { client: left } = await RawClient.connect(target, will("left"))
  left.send({ cmd: "disconnect", reasonCode: 0 })
  await left.closed()
  lost.drop()
  t.is((await watcher.expect("publish")).topic, "will/lost")
  t.deepEqual(await watcher.settle(), [])
})

test("retained messages: MQTT-3.3.1-5 MQTT-3.3.1-6 MQTT-3.3.1-8 MQTT-3.3.1-9 MQTT-3.3.1-10 MQTT-3.3.1-11", async (t) => {
  const target = await start(t)
  const { client: writer } = await RawClient.connect(target)
  const write = async (payload: string, retain: boolean) => {
    writer.send(publish("r/a", payload, { qos: 1, messageId: 1, retain }))
    await writer.expect("puback")
  }
  const seen = async (options: object = {}, twice = false) => {
    const { client } = await RawClient.connect(target)
    for (let n = 0; n < (twice ? 2 : 1); n++) client.send(subscribe("r/+", options))
    return (await client.settle()).flatMap((packet) =>
      packet.cmd === "publish" ? [`${packet.payload} ${packet.retain}`] : [],
    )
  }
  await write("first", true)
  await write("second", true)
  await write("live", false)
  t.deepEqual(await seen(), ["second true"])
  t.deepEqual(await seen({ rh: 0 }, true), ["second true", "second true"])
  t.deepEqual(await seen({ rh: 1 }, true), ["second true"])
  t.deepEqual(await seen({ rh: 2 }), [])
  await write("", true)
  t.deepEqual(await seen(), [])
})

test("no local and retain as published: MQTT-3.8.3-3 MQTT-3.3.1-12 MQTT-3.3.1-13", async (t) => {
  const target = await start(t)
  const { client: own } = await RawClient.connect(target)
  own.send(subscribe("n/a", { nl: true }))
  await own.expect("suback")
  const { client: plain } = await RawClient.connect(target)
  plain.send(subscribe("n/a", { rap: false }))
  await plain.expect("suback")
  const { client: exact } = await RawClient.connect(target)
  exact.send(subscribe("n/a", { rap: true }))
  await exact.expect("suback")
  own.send(publish("n/a", "x", { retain: true }))
  t.false((await plain.expect("publish")).retain)
  t.true((await exact.expect("publish")).retain)
  t.deepEqual(await own.settle(), [])
})

test("QoS 2 is published once however often it is sent: MQTT-4.3.3-8 MQTT-4.3.3-10 MQTT-4.3.3-11", async (t) => {
  const target = await start(t)
  const { client: reader } = await RawClient.connect(target)
  reader.send(subscribe("q"))
  await reader.expect("suback")
  const { client: writer } = await RawClient.connect(target)
  for (const dup of [false, true]) {
    writer.send(publish("q", "once", { qos: 2, messageId: 9, dup }))
    t.is((await writer.expect("pubrec")).messageId, 9)
  }
  writer.send({ cmd: "pubrel", messageId: 9 })
  t.is((await writer.expect("pubcomp")).messageId, 9)
  const { messageId } = await reader.expect("publish")
  reader.send({ cmd: "pubrec", messageId })
  t.is((await reader.expect("pubrel")).messageId, messageId)
  reader.send({ cmd: "pubcomp", messageId })
  t.deepEqual(await reader.settle(), [])
})

test("wildcards do not match topics that begin with $: MQTT-4.7.2-1", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  for (const filter of ["#", "+/a"]) {
    client.send(subscribe(filter))
    await client.expect("suback")
  }
  client.send(publish("$own/a", "x"))
  t.deepEqual(await client.settle(), [])
})
