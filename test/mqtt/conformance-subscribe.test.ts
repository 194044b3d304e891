/** MQTT 5 sections 3.8 to 3.11, 3.15, 4.7, 4.8, 4.12, 6: subscriptions, shared ones, AUTH and WebSocket, against raw packets. */
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import { generate, type IPublishPacket, type Packet, parser } from "mqtt-packet"
import { WebSocket } from "ws"
import { kept, publish, subscribe, unsubscribe } from "./packets.ts"
import { RawClient, start } from "./raw.ts"
import { ScramClient } from "./scram.ts"

const SCRAM =
  "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
const published = (packets: readonly { cmd: string }[]): IPublishPacket[] =>
  packets.filter(({ cmd }) => cmd === "publish") as IPublishPacket[]

test("MQTT-2.2.1-6 MQTT-3.8.4-1 MQTT-3.8.4-2 MQTT-3.8.4-6 MQTT-3.9.3-1 MQTT-3.9.3-2 MQTT-3.11.3-1 MQTT-3.11.3-2 MQTT-3.10.4-4 MQTT-3.10.4-5 MQTT-3.10.4-6: one answer with the request's identifier, a code for each filter in its order", async (t) => {
  const target = await start(t, {
    auth: {
      acl: [
        { deny: "all", topic: "no" },
        { allow: "all", topic: "#" },
      ],
    },
  })
  const { client } = await RawClient.connect(target)
  const subscriptions = [
    { topic: "a", qos: 1 },
    { topic: "no", qos: 0 },
    { topic: "b", qos: 2 },
    { topic: "c", qos: 0 },
  ]
  client.send({ cmd: "subscribe", messageId: 0x1234, subscriptions })
  t.like(await client.next(), { cmd: "suback", messageId: 0x1234, granted: [1, 0x87, 2, 0] })
  client.send({ ...unsubscribe("none", "b", "a", "a"), messageId: 0x4321 })
  t.like(await client.next(), { cmd: "unsuback", messageId: 0x4321, granted: [0x11, 0, 0, 0x11] })
  client.send(unsubscribe("nothing at all"))
  t.like(await client.next(), { cmd: "unsuback", granted: [0x11] })
})

test("MQTT-2.2.2-1: a packet without properties says so by a length of 0", async (t) => {
  const { client } = await RawClient.connect(await start(t))
  client.send(subscribe("a", { qos: 0 }))
  const suback = await client.expect("suback")
  t.is(suback.length, 4, "identifier, property length, one code")
  client.send(publish("a", "x"))
  t.is((await client.expect("publish")).length, 5, "topic, property length, payload")
})

test("MQTT-3.8.3-1 MQTT-3.10.3-1: filters that are not UTF-8 close", async (t) => {
  const target = await start(t)
  for (const bytes of ["82 07 0001 00 0001 ff 00", "a2 06 0001 00 0001 ff"]) {
    const { client } = await RawClient.connect(target)
    client.sendBytes(bytes)
    t.deepEqual(await client.closed(), { closed: true, code: 0x81 })
  }
})

test("MQTT-3.8.4-3 MQTT-3.8.4-4 MQTT-3.8.4-7 MQTT-3.8.4-8: an identical filter replaces the one before and brings what is retained again; the granted QoS is the most that comes", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  client.send(publish("re/t", "kept", { retain: true, qos: 2, messageId: 1 }))
  await client.expect("pubrec")
  client.send({ cmd: "pubrel", messageId: 1 })
  await client.expect("pubcomp")
  for (const qos of [0, 1]) {
    client.send(subscribe("re/+", { qos }))
    t.deepEqual((await client.expect("suback")).granted, [qos])
    t.like(await client.expect("publish"), { topic: "re/t", retain: true, qos })
  }
  client.send(publish("re/t", "live", { qos: 1, messageId: 2 }))
  const live = published(await client.settle())
  t.deepEqual(
    live.map(({ qos }) => qos),
    [1],
    "once: there is one subscription",
  )
})

test("MQTT-3.8.4-5: several filters in one packet are as good as several packets", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  const subscriptions = [
    { topic: "m/1", qos: 0 },
    { topic: "m/2", qos: 0 },
    { topic: "m/1", qos: 1 },
  ]
  client.send({ cmd: "subscribe", messageId: 1, subscriptions })
  t.deepEqual((await client.expect("suback")).granted, [0, 0, 1])
  for (const n of [1, 2]) client.send(publish(`m/${n}`, "x", { qos: 1, messageId: n }))
  t.deepEqual(
    published(await client.settle()).map(({ topic, qos }) => [topic, qos]),
    [
      ["m/1", 1],
      ["m/2", 0],
    ],
  )
})

test("MQTT-3.3.4-2 MQTT-3.3.4-3 MQTT-3.3.4-4 MQTT-3.3.4-5: overlapping subscriptions give one copy of the highest QoS with the identifiers of all", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  for (const [at, [filter, qos]] of (
    [
      ["o/#", 0],
      ["o/+", 2],
      ["o/a", 1],
    ] as const
  ).entries()) {
    client.send({ ...subscribe(filter, { qos }), properties: { subscriptionIdentifier: at + 1 } })
    await client.expect("suback")
  }
  const { client: from } = await RawClient.connect(target)
  from.send(publish("o/a", "x", { qos: 2, messageId: 1 }))
  const got = await client.expect("publish")
  t.is(got.qos, 2)
  t.deepEqual([got.properties?.subscriptionIdentifier ?? []].flat().sort(), [1, 2, 3])
  from.send(publish("o/b", "x"))
  t.deepEqual([(await client.expect("publish")).properties?.subscriptionIdentifier ?? []].flat().sort(), [1, 2])
})

test("MQTT-3.9.2-1 MQTT-3.9.2-2 MQTT-3.11.2-1 MQTT-3.11.2-2: answers to subscriptions fit the smallest client", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target, { properties: { maximumPacketSize: 16 } })
  client.send(subscribe("a"))
  client.send(unsubscribe("a"))
  const got = await client.settle()
  t.deepEqual(
    got.map(({ cmd }) => cmd),
    ["suback", "unsuback"],
  )
  t.true(got.every(({ length }) => (length ?? 0) <= 14))
})

test("MQTT-3.10.4-1 MQTT-3.10.4-2 MQTT-3.10.4-3: UNSUBSCRIBE ends the filter that is the same letter by letter, and what was under way is finished", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  for (const filter of ["u/+", "u/#"]) {
    client.send(subscribe(filter, { qos: 2 }))
    await client.expect("suback")
  }
  const { client: from } = await RawClient.connect(target)
  from.send(publish("u/a", "under way", { qos: 2, messageId: 1 }))
  const { messageId } = await client.expect("publish")
  client.send(unsubscribe("u/a", "U/+", "u/+"))
  t.deepEqual((await client.expect("unsuback")).granted, [0x11, 0x11, 0])
  client.send(unsubscribe("u/#"))
  await client.expect("unsuback")
  from.send(publish("u/a", "too late"))
  client.send({ cmd: "pubrec", messageId, reasonCode: 0 })
  t.is((await client.expect("pubrel")).messageId, messageId)
  client.send({ cmd: "pubcomp", messageId })
  t.deepEqual(await client.settle(), [])
})

test("MQTT-4.8.2-2 MQTT-4.8.2-3: a shared subscription is a group and a filter, and each member has the QoS it was granted", async (t) => {
  const target = await start(t)
  const members = await Promise.all(
    [0, 1].map(async (qos) => {
      const { client } = await RawClient.connect(target)
      client.send(subscribe("$share/g/sh/+", { qos }))
      t.deepEqual((await client.expect("suback")).granted, [qos])
      return client
    }),
  )
  const { client: bad } = await RawClient.connect(target)
  bad.sendBytes("82 0e 0001 00 0008 2473686172652f67 00")
  t.true((await bad.closed()).closed, "no filter behind the group")
  const { client: from } = await RawClient.connect(target)
  for (let n = 1; n <= 10; n++) from.send(publish("sh/a", String(n), { qos: 1, messageId: n }))
  await from.settle()
  const got = await Promise.all(members.map(async (member) => published(await member.settle())))
  t.is((got[0]?.length ?? 0) + (got[1]?.length ?? 0), 10, "each message once")
  for (const [at, list] of got.entries()) t.true(list.every(({ qos }) => qos === at))
})

test("MQTT-4.8.2-4 MQTT-4.8.2-5: QoS 2 that a member began is finished with it, or with nobody", async (t) => {
  const target = await start(t)
  const { client: other } = await RawClient.connect(target)
  const { client: first } = await RawClient.connect(target, kept("member"))
  first.send(subscribe("$share/g/two", { qos: 2 }))
  await first.expect("suback")
  const { client: from } = await RawClient.connect(target)
  from.send(publish("two", "x", { qos: 2, messageId: 1 }))
  const { messageId } = await first.expect("publish")
  first.drop()
  other.send(subscribe("$share/g/two", { qos: 2 }))
  await other.expect("suback")
  await sleep(200)
  t.deepEqual(published(await other.settle()), [], "not to another member meanwhile")
  const { client: back } = await RawClient.connect(target, kept("member"))
  t.like(await back.expect("publish"), { messageId, dup: true })
  back.drop()
  const { client: anew } = await RawClient.connect(target, { clientId: "member", clean: true })
  t.deepEqual(published(await anew.settle()), [])
  t.deepEqual(published(await other.settle()), [], "and not when its session has ended")
})

test("MQTT-4.8.2-6: what a member refuses goes to no other", async (t) => {
  const target = await start(t)
  const members: RawClient[] = []
  for (let n = 0; n < 2; n++) {
    const { client } = await RawClient.connect(target)
    client.send(subscribe("$share/g/r", { qos: 1 }))
    await client.expect("suback")
    members.push(client)
  }
  const { client: from } = await RawClient.connect(target)
  from.send(publish("r", "x", { qos: 1, messageId: 1 }))
  const got = await Promise.race(members.map(async (member, at) => ({ at, packet: await member.expect("publish") })))
  members[got.at]?.send({ cmd: "puback", messageId: got.packet.messageId, reasonCode: 0x80 })
  t.deepEqual(published((await members[1 - got.at]?.settle()) ?? []), [])
})

test("MQTT-4.12.0-2 MQTT-4.12.0-3 MQTT-4.12.0-5 MQTT-3.15.2-1 MQTT-3.15.2-2 MQTT-3.15.2-3 MQTT-4.12.1-2: AUTH goes on with 0x18 under one method, again while connected, and a failure closes", async (t) => {
  const target = await start(t, { auth: { users: { user: { scram: SCRAM } } } })
  const scram = new ScramClient("user", "pencil")
  const authenticationMethod = "SCRAM-SHA-256"
  const { client, connack: asked } = await RawClient.connect(target, {
    properties: { authenticationMethod, authenticationData: scram.first() },
  })
  const properties = (packet: unknown) =>
    (packet as { properties?: { authenticationMethod?: string; authenticationData?: Buffer } }).properties
  t.like(asked, { cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod, reasonString: undefined } })
  client.send({
    cmd: "auth",
    reasonCode: 0x18,
    properties: { authenticationMethod, authenticationData: scram.final(properties(asked)?.authenticationData) },
  })
  t.like(await client.next(), { cmd: "connack", reasonCode: 0, properties: { authenticationMethod } })
  const wrong = new ScramClient("user", "guessed")
  client.send({
    cmd: "auth",
    reasonCode: 0x19,
    properties: { authenticationMethod, authenticationData: wrong.first() },
  })
  const again = await client.expect("auth")
  client.send({
    cmd: "auth",
    reasonCode: 0x18,
    properties: { authenticationMethod, authenticationData: wrong.final(again.properties?.authenticationData) },
  })
  t.deepEqual(await client.closed(), { closed: true, code: 0x87 })
})

test("MQTT-3.1.2-24: an AUTH above the client's Maximum Packet Size is not sent: 0x95 at CONNECT and later", async (t) => {
  const target = await start(t, { auth: { users: { user: { scram: SCRAM } } } })
  const authenticationMethod = "SCRAM-SHA-256"
  const connect = (scram: ScramClient, maximumPacketSize: number) =>
    RawClient.connect(target, {
      properties: { authenticationMethod, authenticationData: scram.first(), maximumPacketSize },
    })
  const { client: tiny, connack: refused } = await connect(new ScramClient("user", "pencil"), 40)
  t.like(refused, { cmd: "connack", reasonCode: 0x95 })
  t.true((await tiny.closed()).closed)
  const scram = new ScramClient("user", "pencil")
  const { client, connack: asked } = await connect(scram, 200)
  const data = (asked as { properties?: { authenticationData?: Buffer } }).properties?.authenticationData
  client.send({
    cmd: "auth",
    reasonCode: 0x18,
    properties: { authenticationMethod, authenticationData: scram.final(data) },
  })
  t.is((await client.expect("connack")).reasonCode, 0)
  const authenticationData = Buffer.from(`n,,n=user,r=${"x".repeat(150)}`)
  client.send({ cmd: "auth", reasonCode: 0x19, properties: { authenticationMethod, authenticationData } })
  t.deepEqual(await client.closed(), { closed: true, code: 0x95 })
})

test("MQTT-4.12.0-4: a proof that is wrong gets a CONNACK that refuses, and a close", async (t) => {
  const target = await start(t, { auth: { users: { user: { scram: SCRAM } } } })
  const scram = new ScramClient("user", "guessed")
  const authenticationMethod = "SCRAM-SHA-256"
  const { client, connack: asked } = await RawClient.connect(target, {
    properties: { authenticationMethod, authenticationData: scram.first() },
  })
  const data = (asked as { properties?: { authenticationData?: Buffer } }).properties?.authenticationData
  client.send({
    cmd: "auth",
    reasonCode: 0x18,
    properties: { authenticationMethod, authenticationData: scram.final(data) },
  })
  t.deepEqual(await client.closed(), { closed: true, code: 0x87 })
})

test("MQTT-6.0.0-1 MQTT-6.0.0-2 MQTT-6.0.0-4: binary messages of any cut under the subprotocol mqtt; text closes", async (t) => {
  const { port } = await start(t)
  const open = async (): Promise<WebSocket> => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, "mqtt")
    await once(socket, "open")
    t.is(socket.protocol, "mqtt")
    return socket
  }
  const socket = await open()
  const packets: Packet[] = []
  const reading = parser({ protocolVersion: 5 })
  reading.on("packet", (packet) => packets.push(packet))
  socket.on("message", (data: Buffer, isBinary) => {
    t.true(isBinary)
    reading.parse(data)
  })
  const connect = {
    cmd: "connect",
    protocolId: "MQTT",
    protocolVersion: 5,
    clean: true,
    clientId: "ws",
    keepalive: 60,
  } as const
  const bytes = Buffer.concat([
    generate(connect as Packet, { protocolVersion: 5 }),
    generate(subscribe("ws/a", { qos: 0 }) as Packet, { protocolVersion: 5 }),
    generate(publish("ws/a", "x".repeat(300)) as Packet, { protocolVersion: 5 }),
  ])
  for (let at = 0; at < bytes.length; at += 7) socket.send(bytes.subarray(at, at + 7))
  for (const end = Date.now() + 3_000; packets.length < 3 && Date.now() < end; ) await sleep(10)
  t.deepEqual(
    packets.map(({ cmd }) => cmd),
    ["connack", "suback", "publish"],
  )
  socket.send(Buffer.concat([generate({ cmd: "pingreq" }), generate({ cmd: "pingreq" })]))
  for (const end = Date.now() + 3_000; packets.length < 5 && Date.now() < end; ) await sleep(10)
  t.is(packets.length, 5, "two packets in one message")
  socket.terminate()
  const text = await open()
  text.send("no binary message")
  const [code] = (await once(text, "close")) as [number]
  t.is(code, 1003)
})
