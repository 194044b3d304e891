/** MQTT 5 sections 3.1, 3.2, 3.14, 4.1, 4.12: how a connection begins and ends, against raw packets. */
import { once } from "node:events"
import { connect } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import type { IConnackPacket } from "mqtt-packet"
import { definePolicy } from "../../src/index.ts"
import { kept, publish, subscribe } from "./packets.ts"
import { RawClient, start, type Target } from "./raw.ts"

const HASH = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$WTvGu3V4L1QfFJ2ZVwKcnVwRrmVJk1c7XKjFMr5ArRo"
const CONNECT = "10 0e 0004 4d515454 05 02 003c 00 0001 61"

/** Everything the server sends for these bytes, as hexadecimal. */
async function answer({ port }: Target, hex: string, ms = 300): Promise<string> {
  const socket = connect(port, "127.0.0.1")
  await once(socket, "connect")
  const chunks: Buffer[] = []
  socket.on("data", (chunk: Buffer) => chunks.push(chunk))
  socket.on("error", () => {})
  socket.write(Buffer.from(hex.replace(/\s/g, ""), "hex"))
  await Promise.race([once(socket, "close"), sleep(ms)])
  socket.destroy()
  return Buffer.concat(chunks).toString("hex")
}

const code = (packet: unknown): number | undefined => (packet as IConnackPacket | null)?.reasonCode

test("MQTT-3.1.2-2: a version that is not known gets 0x84 and a close", async (t) => {
  const target = await start(t)
  t.is(await answer(target, "10 0e 0004 4d515454 09 02 003c 00 0001 61"), "2003008400")
})

test("MQTT-3.1.2-6: Clean Start 0 without a session begins one; MQTT-4.1.0-1 MQTT-3.1.2-23: it stays; MQTT-4.1.0-2: and ends with its time", async (t) => {
  const target = await start(t)
  const { client, connack } = await RawClient.connect(target, kept("a", { properties: { sessionExpiryInterval: 1 } }))
  t.like(connack, { reasonCode: 0, sessionPresent: false })
  client.send(subscribe("s"))
  await client.expect("suback")
  await sleep(1_300)
  client.send(publish("s", "while it is open nothing is discarded"))
  await client.expect("publish")
  client.drop()
  await sleep(100)
  const { client: again, connack: second } = await RawClient.connect(
    target,
    kept("a", { properties: { sessionExpiryInterval: 1 } }),
  )
  t.like(second, { sessionPresent: true })
  again.drop()
  await sleep(1_500)
  t.like((await RawClient.connect(target, kept("a"))).connack, { sessionPresent: false })
})

test("MQTT-3.1.2-7 MQTT-3.1.2-9 MQTT-3.1.2-14 MQTT-3.1.2-15 MQTT-3.1.3-1 MQTT-3.1.3-10: a will is stored and goes as it was given, retained only if it says so", async (t) => {
  const target = await start(t)
  const { client: watcher } = await RawClient.connect(target)
  watcher.send(subscribe("w/#", { rap: true }))
  await watcher.expect("suback")
  const lose = async (retain: boolean) => {
    const will = {
      topic: `w/${retain}`,
      payload: Buffer.from("bye"),
      qos: 1 as const,
      retain,
      properties: { contentType: "text", userProperties: { b: ["1", "2"], a: "3" } },
    }
    const { client } = await RawClient.connect(target, { will, username: "u", password: Buffer.from("p") })
    client.drop()
    return watcher.expect("publish")
  }
  for (const retain of [false, true]) {
    const got = await lose(retain)
    t.like(got, { topic: `w/${retain}`, qos: 1, retain, properties: { contentType: "text" } })
    t.deepEqual({ ...got.properties?.userProperties }, { b: ["1", "2"], a: "3" })
  }
  const { client: late } = await RawClient.connect(target)
  late.send(subscribe("w/#"))
  t.deepEqual(
    (await late.settle()).flatMap((packet) => (packet.cmd === "publish" ? [packet.topic] : [])),
    ["w/true"],
  )
})

test("a payload that does not fit its flags is malformed: MQTT-3.1.2-16 MQTT-3.1.2-17 MQTT-3.1.2-18 MQTT-3.1.2-19 MQTT-3.1.3-11 MQTT-3.1.3-12", async (t) => {
  const target = await start(t)
  for (const [what, bytes] of [
    ["a user name without its flag", "10 11 0004 4d515454 05 02 003c 00 0001 61 0001 62"],
    ["a user name flag without one", "10 0e 0004 4d515454 05 82 003c 00 0001 61"],
    ["a password without its flag", "10 14 0004 4d515454 05 82 003c 00 0001 61 0001 62 0001 63"],
    ["a password flag without one", "10 11 0004 4d515454 05 c2 003c 00 0001 61 0001 62"],
    ["a will topic that is not UTF-8", "10 15 0004 4d515454 05 06 003c 00 0001 61 00 0001 ff 0001 62"],
    ["a user name that is not UTF-8", "10 11 0004 4d515454 05 82 003c 00 0001 61 0001 ff"],
  ] as const) {
    t.regex(await answer(target, bytes), /^20..0081/, what)
  }
})

test("MQTT-3.1.2-24 MQTT-3.1.2-25: a message above the client's Maximum Packet Size is not sent to it, and counts as done", async (t) => {
  const target = await start(t, { mqtt: { maxInflight: 1 } })
  const { client } = await RawClient.connect(target, { properties: { maximumPacketSize: 60 } })
  const { client: other } = await RawClient.connect(target)
  for (const reader of [client, other]) {
    reader.send(subscribe("p", { qos: 1 }))
    await reader.expect("suback")
  }
  const { client: writer } = await RawClient.connect(target)
  for (const payload of ["x".repeat(100), "fits"]) writer.send(publish("p", payload, { qos: 1, messageId: 1 }))
  t.is(String((await client.expect("publish")).payload), "fits")
  const first = await other.expect("publish")
  t.is(first.payload.length, 100, "others get it")
})

test("MQTT-3.1.2-26 MQTT-3.1.2-27 MQTT-3.3.2-11: no alias above the client's maximum, none without one", async (t) => {
  const target = await start(t)
  for (const [properties, most] of [
    [{}, 0],
    [{ topicAliasMaximum: 1 }, 1],
  ] as const) {
    const { client } = await RawClient.connect(target, { properties })
    client.send(subscribe("alias/#", { qos: 0 }))
    await client.expect("suback")
    for (const n of [1, 2, 1, 2]) client.send(publish(`alias/${n}`, "x"))
    const got = (await client.settle()).flatMap((packet) => (packet.cmd === "publish" ? [packet] : []))
    t.is(got.length, 4)
    t.true(got.every(({ properties: { topicAlias = 0 } = {} }) => topicAlias <= most))
  }
})

test("MQTT-3.1.2-28: no Response Information unasked; MQTT-3.1.2-29: no reason strings unasked", async (t) => {
  const target = await start(t, {
    mqtt: { responseInformation: "r/%c" },
    auth: { acl: [{ deny: "all", topic: "no/#" }] },
  })
  const properties = { requestProblemInformation: false, requestResponseInformation: false }
  const { client, connack } = await RawClient.connect(target, { properties })
  t.is((connack as IConnackPacket).properties?.responseInformation, undefined)
  client.send(subscribe("no/a"))
  client.send(publish("no/a", "x", { qos: 1, messageId: 2 }))
  client.send(publish("no/a", "x", { qos: 2, messageId: 3 }))
  client.send({ cmd: "unsubscribe", messageId: 4, unsubscriptions: ["none"] })
  for (const packet of await client.settle()) {
    const { reasonString, userProperties } = (packet as { properties?: Record<string, unknown> }).properties ?? {}
    t.deepEqual([reasonString, userProperties], [undefined, undefined], packet.cmd)
  }
})

test("MQTT-3.1.3-2 MQTT-3.1.3-5 MQTT-3.1.4-4 MQTT-3.1.4-5: any identifier of 1 to 23 letters and digits names its own session", async (t) => {
  const target = await start(t)
  const ids = ["a", "0123456789abcdefghijABC", "Z9"]
  for (const id of ids) {
    const { client } = await RawClient.connect(target, kept(id))
    client.send(subscribe(id))
    await client.expect("suback")
    client.send({ cmd: "disconnect", reasonCode: 0 })
    await client.closed()
  }
  const { client: writer } = await RawClient.connect(target)
  for (const id of ids) {
    writer.send(publish(id, id, { qos: 1, messageId: 1 }))
    await writer.expect("puback")
  }
  for (const id of ids) {
    const { client, connack } = await RawClient.connect(target, kept(id))
    t.like(connack, { reasonCode: 0, sessionPresent: true })
    t.is(String((await client.expect("publish")).payload), id)
  }
})

test("MQTT-3.1.3-8: an identifier that is refused gets 0x85 or another code, and a close", async (t) => {
  const target = await start(t)
  // MQTT 3.1.1: no identifier, and a session that is to be kept.
  t.is(await answer(target, "10 0c 0004 4d515454 04 00 003c 0000"), "20020002")
})

test("MQTT-3.1.3-9: who comes back within the will delay has no will published", async (t) => {
  const target = await start(t)
  const { client: watcher } = await RawClient.connect(target)
  watcher.send(subscribe("late/#"))
  await watcher.expect("suback")
  const will = {
    topic: "late/will",
    payload: Buffer.from("x"),
    qos: 0 as const,
    retain: false,
    properties: { willDelayInterval: 1 },
  }
  const { client } = await RawClient.connect(target, kept("delayed", { will }))
  client.drop()
  await sleep(100)
  const { client: back } = await RawClient.connect(target, kept("delayed"))
  await sleep(1_300)
  t.deepEqual(await watcher.settle(), [])
  back.drop()
})

test("MQTT-3.1.4-2 MQTT-3.1.4-6 MQTT-3.2.2-6 MQTT-3.2.2-7 MQTT-3.2.2-8 MQTT-3.14.0-1: who is refused gets one CONNACK with a code of the list, session present 0, and nothing it sent is processed", async (t) => {
  const target = await start(t, { auth: { users: { ann: HASH } } })
  const { client: watcher, connack } = await RawClient.connect(target)
  t.is(code(connack), 0x87)
  t.true((await watcher.closed()).closed)
  // CONNECT with a wrong password, then a retained PUBLISH at once.
  const bytes = "10 14 0004 4d515454 05 c2 003c 00 0001 61 0001 62 0001 63 31 05 0001 72 00 78"
  t.is(await answer(target, bytes), "2003008600")
  t.is((await fetch(`http://127.0.0.1:${target.port}/t/r`)).status, 401)
})

test("MQTT-3.2.0-1 MQTT-3.2.0-2 MQTT-3.2.2-1: CONNACK is the first packet, there is one, and its reserved bits are 0", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target, kept("eager"))
  client.send(subscribe("e"))
  await client.expect("suback")
  client.drop()
  await sleep(50)
  await target.gateway.publish("e", "x", { qos: 1 })
  // The same identifier, Clean Start 0, expiry 60: CONNACK with session present, then what waited.
  const bytes = await answer(target, "10 17 0004 4d515454 05 00 003c 05 110000003c 0005 6561676572")
  t.regex(bytes, /^20..0100/, "flags 0x01: session present and nothing else")
  t.is(Buffer.from(bytes, "hex")[2 + (Buffer.from(bytes, "hex")[1] ?? 0)], 0x32, "the PUBLISH stands behind it")
})

test("MQTT-3.2.2-9 MQTT-3.2.2-10: every QoS is there, so that no Maximum QoS is told", async (t) => {
  const { client, connack } = await RawClient.connect(await start(t))
  t.is((connack as IConnackPacket).properties?.maximumQoS, undefined)
  for (const qos of [0, 1, 2]) {
    client.send(subscribe("q", { qos }))
    t.deepEqual((await client.expect("suback")).granted, [qos])
  }
})

test("MQTT-3.2.2-15 MQTT-3.2.2-17 MQTT-3.2.2-18: a client beyond what the CONNACK told is closed with its code", async (t) => {
  const target = await start(t, { mqtt: { maxPacketBytes: 200, topicAliasMaximum: 0 } })
  const { client: large, connack } = await RawClient.connect(target)
  t.is((connack as IConnackPacket).properties?.maximumPacketSize, 200)
  large.send(publish("big", "x".repeat(300)))
  t.deepEqual(await large.closed(), { closed: true, code: 0x95 })
  const { client: aliased } = await RawClient.connect(target)
  aliased.send(publish("alias", "x", { properties: { topicAlias: 1 } }))
  t.deepEqual(await aliased.closed(), { closed: true, code: 0x94 })
})

test("MQTT-3.2.2-16: the identifier that is assigned is told, and no other client has it", async (t) => {
  const target = await start(t)
  const ids = new Set<string | undefined>()
  for (let n = 0; n < 5; n++) {
    const { connack } = await RawClient.connect(target, { clientId: "" })
    ids.add((connack as IConnackPacket).properties?.assignedClientIdentifier)
  }
  t.is(ids.size, 5)
})

test("MQTT-3.2.2-19 MQTT-3.2.2-20 MQTT-3.14.2-3 MQTT-3.14.2-4: no text makes a CONNACK or DISCONNECT larger than the client takes", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target, { properties: { maximumPacketSize: 20 } })
  client.sendBytes("f1 00")
  const goodbye = await client.expect("disconnect")
  t.is(goodbye.reasonCode, 0x81)
  t.is(goodbye.properties?.reasonString, undefined)
  const { client: roomy } = await RawClient.connect(target)
  roomy.sendBytes("f1 00")
  t.truthy((await roomy.expect("disconnect")).properties?.reasonString)
  const refuses = definePolicy({
    name: "refuses",
    deadlineMs: 5_000,
    decide: () => ({ reject: { reason: 0x8a, body: "x".repeat(50) } }),
  })
  const strict = await start(t, { broker: { hooks: { onConnect: [refuses()] } } })
  for (const [maximumPacketSize, text] of [
    [20, undefined],
    [100, "x".repeat(50)],
  ] as const) {
    const { connack } = await RawClient.connect(strict, { properties: { maximumPacketSize } })
    t.is(code(connack), 0x8a)
    t.is((connack as IConnackPacket).properties?.reasonString, text)
  }
})

test("MQTT-3.1.2-21 MQTT-3.2.2-21 MQTT-3.2.2-22: the server's keep-alive holds where it tells one, else the client's", async (t) => {
  const target = await start(t, { mqtt: { serverKeepAliveS: 1 } })
  const { client, connack } = await RawClient.connect(target, { keepalive: 600 })
  t.is((connack as IConnackPacket).properties?.serverKeepAlive, 1)
  t.deepEqual(await client.closed(), { closed: true, code: 0x8d })
  const { connack: shorter } = await RawClient.connect(target, { keepalive: 1 })
  t.is((shorter as IConnackPacket).properties?.serverKeepAlive, undefined)
})

test("MQTT-3.14.4-1 MQTT-3.14.4-2 MQTT-3.14.2-2: behind a DISCONNECT of the server comes nothing but the end, and no session expiry is in it", async (t) => {
  const target = await start(t)
  const kept = { clientId: "kept", properties: { sessionExpiryInterval: 60 } }
  const { client } = await RawClient.connect(target, kept)
  await RawClient.connect(target, kept)
  t.is((await client.expect("disconnect")).properties?.sessionExpiryInterval, undefined)
  const bytes = await answer(target, `${CONNECT} f1 00 c0 00`, 1_000)
  const connack = 2 + Number.parseInt(bytes.slice(2, 4), 16)
  const goodbye = Buffer.from(bytes, "hex").subarray(connack)
  t.is(goodbye[0], 0xe0)
  t.is(goodbye.length, 2 + (goodbye[1] ?? 0))
})

test("MQTT-4.12.0-1 MQTT-4.12.0-6: an unknown method gets 0x8C and a close; who named none hears of none", async (t) => {
  const target = await start(t)
  const { client, connack } = await RawClient.connect(target, { properties: { authenticationMethod: "NONE-SUCH" } })
  t.is(code(connack), 0x8c)
  t.true((await client.closed()).closed)
  const plain = await RawClient.connect(target)
  t.is((plain.connack as IConnackPacket).properties?.authenticationMethod, undefined)
  t.deepEqual(await plain.client.settle(), [])
})

test("MQTT-4.12.0-7: an AUTH without a method at CONNECT is a protocol error", async (t) => {
  const { client } = await RawClient.connect(await start(t))
  client.sendBytes("f0 00")
  t.deepEqual(await client.closed(), { closed: true, code: 0x82 })
})

test("MQTT-4.13.1-1: a malformed CONNECT is told so or closed, and nobody else notices", async (t) => {
  const target = await start(t)
  const { client: calm } = await RawClient.connect(target)
  for (let cut = 1; cut < 16; cut++) {
    const bytes = Buffer.from(CONNECT.replace(/\s/g, ""), "hex").subarray(0, cut)
    const broken = Buffer.concat([bytes.subarray(0, 1), Buffer.from([Math.max(0, cut - 2)]), bytes.subarray(2)])
    if (cut < 16 && cut > 2) t.notRegex(await answer(target, broken.toString("hex"), 40), /^20..0000/, String(cut))
  }
  t.deepEqual(await calm.settle(), [])
})
