/** How connections and messages end: sessions that do not outlive theirs, CONNECTs that are overtaken, the last frame of a WebSocket, what has expired. */
import { once } from "node:events"
import { connect } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import { generate, type IConnackPacket, type Packet } from "mqtt-packet"
import { WebSocket } from "ws"
import { kept, publish, subscribe } from "./packets.ts"
import { counted, RawClient, start } from "./raw.ts"

const present = (connack: Packet | null): boolean | undefined => (connack as IConnackPacket | null)?.sessionPresent

for (const protocolVersion of [4, 5] as const) {
  test(`MQTT3-3.1.2-6, MQTT5 section 3.1.2.11.2: a session that ends with its connection is of no later one: version ${protocolVersion}`, async (t) => {
    const target = await start(t)
    const one = { clientId: "brief", protocolVersion }
    const { client: first } = await RawClient.connect(target, { ...one, clean: true })
    first.send(subscribe("brief", { qos: 1 }))
    await first.expect("suback")
    const second = await RawClient.connect(target, { ...one, clean: false })
    t.false(present(second.connack))
    t.is((await first.closed()).closed, true)
    second.client.send(publish("brief", "x", { qos: 1, messageId: 1 }))
    t.deepEqual(
      (await second.client.settle()).map(({ cmd }) => cmd),
      ["puback"],
      "nor are its subscriptions",
    )
  })
}

test("MQTT-3.14.4-2: behind its DISCONNECT a client still reads every answer that is due, and then the end, for which nobody waits", async (t) => {
  const { port } = await start(t)
  const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true })
  await once(socket, "connect")
  const count = 2_000
  const publishes = Array.from({ length: count }, (_, index) =>
    generate({ cmd: "publish", topic: "last", payload: "x", qos: 1, messageId: index + 1, dup: false, retain: false }),
  )
  const hello = generate({ cmd: "connect", clientId: "last", protocolId: "MQTT", protocolVersion: 4, clean: true })
  socket.pause()
  socket.write(Buffer.concat([hello, ...publishes, generate({ cmd: "disconnect" })]))
  await sleep(200)
  let bytes = 0
  socket.on("data", (chunk: Buffer) => {
    bytes += chunk.length
  })
  socket.resume()
  // A reset would be an error here.
  await once(socket, "end")
  t.is(bytes, 4 + 4 * count)
  // Who lingers reads on; a socket that is closed answers with a reset, which the next write meets.
  const lost = once(socket, "close").catch((error: NodeJS.ErrnoException) => error.syscall)
  socket.write("x")
  await sleep(50)
  socket.write("x")
  t.is(await Promise.race([lost, sleep(3_000, "nothing")]), "write")
  socket.destroy()
})

test("a will with a delay goes with a session that is taken over and has no expiry", async (t) => {
  const target = await start(t)
  const { client: watcher } = await RawClient.connect(target)
  watcher.send(subscribe("will/#", { qos: 1 }))
  await watcher.expect("suback")
  const will = (sessionExpiryInterval: number) => ({
    clientId: "brief",
    clean: false,
    properties: { sessionExpiryInterval },
    will: {
      topic: "will/brief",
      payload: Buffer.from(String(sessionExpiryInterval)),
      qos: 1 as const,
      retain: false,
      properties: { willDelayInterval: 60 },
    },
  })
  await RawClient.connect(target, will(0))
  await RawClient.connect(target, will(60))
  t.is(String((await watcher.expect("publish")).payload), "0")
  await RawClient.connect(target, will(60))
  t.deepEqual(await watcher.settle(), [], "one that is kept saves it: MQTT-3.1.3-9")
})

test("MQTT-3.8.3-3: no local holds for a client's will and for what it delayed", async (t) => {
  const target = await start(t)
  const session = kept("own", {
    will: { topic: "own/will", payload: Buffer.from("gone"), qos: 1, retain: false },
  })
  const { client } = await RawClient.connect(target, session)
  client.send(subscribe("own/#", { qos: 1, nl: true }))
  await client.expect("suback")
  const { client: other } = await RawClient.connect(target)
  other.send(subscribe("own/#", { qos: 1 }))
  await other.expect("suback")
  client.send(publish("$delayed/1/own/later", "later", { qos: 1, messageId: 1 }))
  t.is((await other.expect("publish")).topic, "own/later")
  t.deepEqual(
    (await client.settle()).map(({ cmd }) => cmd),
    ["puback"],
  )
  client.drop()
  t.is((await other.expect("publish")).topic, "own/will")
  const { client: back } = await RawClient.connect(target, kept("own"))
  t.deepEqual(await back.settle(), [])
})

test("a client's own retained message comes to its no-local subscription: whether it does is what retain handling says", async (t) => {
  const { client } = await RawClient.connect(await start(t))
  client.send(publish("own/state", "kept", { qos: 1, messageId: 1, retain: true }))
  await client.expect("puback")
  client.send(subscribe("own/+", { qos: 0, nl: true, rh: 0 }))
  t.like(await client.expect("publish"), { topic: "own/state", retain: true })
  client.send(subscribe("own/+", { qos: 0, nl: true, rh: 2 }))
  client.send(publish("own/state", "newer", { retain: true }))
  t.deepEqual(
    (await client.settle()).map(({ cmd }) => cmd),
    ["suback"],
    "and never while it is published",
  )
})

test("a CONNECT that is overtaken while its session moves is told 0x8E behind its CONNACK: MQTT-3.14.0-1", async (t) => {
  const target = await start(t)
  const clients = await Promise.all(Array.from({ length: 120 }, () => RawClient.open(target)))
  for (const client of clients) {
    client.send({
      ...{ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, keepalive: 60 },
      ...kept("wanted"),
    })
  }
  const ends = await Promise.all(
    clients.map(async (client) => {
      const first = await client.next()
      const last = await client.next(1_000)
      return `${first?.cmd} ${last?.cmd} ${last?.cmd === "disconnect" ? last.reasonCode : ""}`
    }),
  )
  const served = ends.filter((end) => end === "connack undefined ")
  t.is(served.length, 1)
  t.is(ends.filter((end) => end === "connack disconnect 142").length, clients.length - 1, ends.join("\n"))
})

const bytesOf = (hex: string): Buffer => Buffer.from(hex.replaceAll(" ", ""), "hex")

/** What a client over WebSocket says behind its CONNECT, and the code that its last frame has. */
const LAST_FRAMES = [
  ["a DISCONNECT", "e0 00", 1000],
  ["a packet that is none", "00 00", 1002],
  ["a second CONNECT", "10 0d 0004 4d515454 05 02 003c 00 0000", 1002],
] as const

test("RFC 6455 section 7.1.1: a WebSocket ends with a close frame, behind what MQTT had to say", async (t) => {
  const { port } = await start(t)
  const open = async (connect: string): Promise<{ socket: WebSocket; code: Promise<number> }> => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, "mqtt")
    await once(socket, "open")
    socket.send(bytesOf(connect))
    return { socket, code: once(socket, "close").then(([code]) => code as number) }
  }
  for (const [title, bytes, code] of LAST_FRAMES) {
    const client = await open("10 0d 0004 4d515454 05 02 003c 00 0000")
    client.socket.send(bytesOf(bytes))
    t.is(await client.code, code, title)
  }
  const refused = await open("10 0c 0004 4d515454 04 00 003c 0000")
  const said = once(refused.socket, "message")
  t.is(await refused.code, 1002, "a CONNECT that breaks a rule")
  t.is(((await said)[0] as Buffer).toString("hex"), "20020002")
  const silent = await open("10 0d 0004 4d515454 05 02 0001 00 0000")
  t.is(await silent.code, 1000, "silence")
})

test("what answers packets stands ahead of the close frame that came with them", async (t) => {
  const { port } = await start(t)
  const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, "mqttv3.1")
  await once(socket, "open")
  t.is(socket.protocol, "mqttv3.1")
  const got: string[] = []
  socket.on("message", (data: Buffer) => got.push(data.toString("hex")))
  const connect = {
    cmd: "connect",
    protocolId: "MQIsdp",
    protocolVersion: 3,
    clean: true,
    keepalive: 60,
    clientId: "old",
  }
  socket.send(generate(connect as Packet, { protocolVersion: 3 }))
  socket.send(generate(publish("a", "x", { qos: 1, messageId: 7 }) as Packet, { protocolVersion: 3 }))
  socket.close(1000)
  await once(socket, "close")
  t.is(got.join(""), "2002000040020007")
})

test("expired retained messages take no room from others", async (t) => {
  const target = await start(t, { broker: { maxRetained: 2 } })
  const { client } = await RawClient.connect(target)
  const keep = async (topic: string, rest: object = {}): Promise<number | undefined> => {
    client.send(publish(topic, "x", { qos: 1, messageId: 1, retain: true, ...rest }))
    return (await client.expect("puback")).reasonCode
  }
  const brief = { properties: { messageExpiryInterval: 1 } }
  t.is(await keep("r/1", brief), 0x10)
  t.is(await keep("r/2", brief), 0x10)
  t.is(await keep("r/3"), 0x97)
  for (const end = Date.now() + 5_000; counted(target, "tidegate_retained_messages") > 0 && Date.now() < end; ) {
    await sleep(50)
  }
  t.is(await keep("r/3"), 0x10)
  t.is(counted(target, "tidegate_retained_messages"), 1)
})

test("a message that fits the client's packet size without an alias is sent without one", async (t) => {
  const target = await start(t)
  const room = 64
  const { client } = await RawClient.connect(target, { properties: { maximumPacketSize: room, topicAliasMaximum: 4 } })
  client.send(subscribe("sized", { qos: 0 }))
  await client.expect("suback")
  const message = (payload: string) => publish("sized", payload)
  const fills = room - generate(message("") as Packet, { protocolVersion: 5 }).length
  const { client: from } = await RawClient.connect(target)
  from.send(message("x".repeat(fills)))
  from.send(message("x".repeat(fills - 3)))
  const got = [await client.expect("publish"), await client.expect("publish")]
  t.deepEqual(
    got.map(({ payload, properties }) => [String(payload).length, properties?.topicAlias]),
    [
      [fills, undefined],
      [fills - 3, 1],
    ],
  )
})
