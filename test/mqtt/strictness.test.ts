/** What a client's packet size leaves no room for, payloads that are not the text they say, lengths in more bytes than they need. */
import test from "ava"
import type { IConnackPacket } from "mqtt-packet"
import { definePolicy } from "../../src/index.ts"
import { publish, subscribe, unsubscribe } from "./packets.ts"
import { RawClient, start } from "./raw.ts"

const takes = (maximumPacketSize: number, rest: object = {}) => ({ properties: { maximumPacketSize, ...rest } })
const bytes = (hex: string): Buffer => Buffer.from(hex, "hex")

test("MQTT-3.1.2-24: a client that takes no CONNACK with its terms is refused by one that it takes, and has no session", async (t) => {
  const target = await start(t)
  const small = await RawClient.connect(target, { clientId: "small", ...takes(15) })
  t.like(small.connack, { cmd: "connack", reasonCode: 0x95 })
  t.true((await small.client.closed()).closed)
  const smaller = await RawClient.connect(target, { clientId: "smaller", ...takes(4) })
  t.is(smaller.connack, null, "not even that")
  t.true((await smaller.client.closed()).closed)
  t.deepEqual((JSON.parse(await target.gateway.native.mqttClients("{}")) as { items: object[] }).items, [])
  t.like((await RawClient.connect(target, { clientId: "", ...takes(40) })).connack, { reasonCode: 0x95 })
  t.like((await RawClient.connect(target, { clientId: "just", ...takes(16) })).connack, { reasonCode: 0 })
})

test("MQTT-3.2.2-20: what the client can do without is left out of a CONNACK that would be too large", async (t) => {
  const tells = definePolicy({
    name: "tells",
    deadlineMs: 5_000,
    decide: () => ({ setHeaders: { why: "x".repeat(100), where: "here" } }),
  })
  const target = await start(t, {
    mqtt: { responseInformation: "reply/%c/" },
    broker: { hooks: { onConnect: [tells()] } },
  })
  const terms = async (maximumPacketSize: number) => {
    const asked = takes(maximumPacketSize, { requestResponseInformation: true })
    const { connack } = await RawClient.connect(target, { clientId: "a", ...asked })
    const { responseInformation, userProperties } = (connack as IConnackPacket).properties ?? {}
    return [responseInformation, Object.keys(userProperties ?? {})]
  }
  t.deepEqual(await terms(1_000), ["reply/a/", ["why", "where"]])
  t.deepEqual(await terms(60), ["reply/a/", ["where"]])
  t.deepEqual(await terms(22), [undefined, []])
})

test("MQTT-3.1.2-24: an answer for more filters than fit closes with 0x95", async (t) => {
  const target = await start(t)
  const filters = Array.from({ length: 30 }, (_, n) => `filter/${n}`)
  const { client } = await RawClient.connect(target, takes(30))
  client.send({ ...subscribe("a"), subscriptions: filters.map((topic) => ({ topic, qos: 0 })) })
  t.deepEqual(await client.closed(), { closed: true, code: 0x95 })
  const { client: other } = await RawClient.connect(target, takes(30))
  other.send(unsubscribe(...filters))
  t.deepEqual(await other.closed(), { closed: true, code: 0x95 })
})

test("a payload that is not the UTF-8 it says is refused with 0x99, a will's too, and reaches nobody", async (t) => {
  const target = await start(t)
  const { client: reader } = await RawClient.connect(target)
  reader.send(subscribe("t"))
  await reader.expect("suback")
  const { client } = await RawClient.connect(target)
  const text = { properties: { payloadFormatIndicator: true } }
  for (const [payload, code] of [
    [bytes("c328"), 0x99],
    [Buffer.from("grün"), 0],
  ] as const) {
    client.send(publish("t", payload, { qos: 1, messageId: 1, ...text }))
    t.is((await client.expect("puback")).reasonCode ?? 0, code)
    client.send(publish("t", payload, { qos: 2, messageId: 2, ...text }))
    t.is((await client.expect("pubrec")).reasonCode ?? 0, code)
    client.send(publish("t", payload, text))
    await client.settle()
  }
  const got = (await reader.settle()).filter(({ cmd }) => cmd === "publish")
  t.deepEqual(
    got.map((packet) => String((packet as { payload?: Buffer }).payload)),
    ["grün", "grün", "grün"],
  )
  const will = { topic: "t", payload: bytes("ff"), qos: 0 as const, retain: false, ...text }
  t.like((await RawClient.connect(target, { will })).connack, { reasonCode: 0x99 })
})

test("MQTT-1.5.5-1: a remaining length takes no more bytes than it needs, which before version 5 nobody asks for", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  client.sendBytes("c0 80 00")
  t.deepEqual(await client.closed(), { closed: true, code: 0x81 })
  const opening = await RawClient.open(target)
  opening.sendBytes("10 8e 00 0004 4d515454 05 02 003c 00 0001 61")
  t.deepEqual(await opening.closed(), { closed: true, code: 0x81 })
  const { client: older } = await RawClient.connect(target, { protocolVersion: 4 })
  older.sendBytes("c0 80 00")
  t.is((await older.next())?.cmd, "pingresp")
})

test("a PUBREC that refuses what is not known asks for no PUBREL", async (t) => {
  const { client } = await RawClient.connect(await start(t))
  client.send({ cmd: "pubrec", messageId: 9, reasonCode: 0x80 })
  t.deepEqual(await client.settle(), [])
  client.send({ cmd: "pubrec", messageId: 9, reasonCode: 0 })
  t.like(await client.expect("pubrel"), { messageId: 9, reasonCode: 0x92 })
})

/** The highest bit of the level is set. */
const asBridge = (protocolVersion: number): object => ({ protocolVersion, bridgeMode: true })

for (const protocolVersion of [3, 4] as const)
  test(`a bridge of version ${protocolVersion} gets nothing back that it sent, and RETAIN as it was; shared filters take turns`, async (t) => {
    const target = await start(t)
    const { client: bridge, connack } = await RawClient.connect(target, asBridge(protocolVersion))
    t.like(connack, { cmd: "connack", returnCode: 0 })
    bridge.send(subscribe("a/#", { qos: 1 }))
    await bridge.expect("suback")
    const { client: other } = await RawClient.connect(target)
    other.send(subscribe("a/#", { qos: 1 }))
    await other.expect("suback")
    bridge.send(publish("a/up", "1", { qos: 1, messageId: 1 }))
    t.is((await other.expect("publish")).topic, "a/up")
    other.send(publish("a/down", "2", { retain: true }))
    const seen = (await bridge.settle()).map((packet) => (packet.cmd === "publish" ? packet.retain : packet.cmd))
    t.deepEqual(seen, ["puback", true])
    bridge.send(subscribe("$share/g/b", { qos: 0 }))
    await bridge.expect("suback")
    bridge.send(publish("b", "3"))
    t.like(await bridge.expect("publish"), { topic: "b" })
    const newer = await RawClient.open(target)
    newer.sendBytes("10 0d 0004 4d515454 85 02 003c 00 0000")
    t.is((await newer.closed()).code, 0x84, "version 5 says it by its options")
  })
