/**
 * Statements of MQTT 3.1.1 (OASIS Standard, 29 October 2014) against raw packets; `MQTT3-1.5.3-1` is its [MQTT-1.5.3-1].
 * docs/mqtt-conformance.md is made of these titles.
 */
import { once } from "node:events"
import { connect } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import type { IConnackPacket, IConnectPacket, IPublishPacket } from "mqtt-packet"
import { WebSocket } from "ws"
import { publish, subscribe, unsubscribe } from "./packets.ts"
import { RawClient, start, type Target } from "./raw.ts"

const V4 = { protocolVersion: 4 as const }
const open = (target: Target, options: Partial<IConnectPacket> = {}) => RawClient.connect(target, { ...V4, ...options })
const stays = (clientId: string) => ({ clientId, clean: false })
const client = async (target: Target, options: Partial<IConnectPacket> = {}) => (await open(target, options)).client
const published = (packets: readonly { cmd: string }[]): IPublishPacket[] =>
  packets.filter(({ cmd }) => cmd === "publish") as IPublishPacket[]

async function reader(
  target: Target,
  filter: string,
  qos = 0,
  options: Partial<IConnectPacket> = {},
): Promise<RawClient> {
  const made = await client(target, options)
  made.send(subscribe(filter, { qos }))
  await made.expect("suback")
  return made
}

/** What the server sends for these bytes before it closes. */
async function answer({ port }: Target, hex: string, ms = 300): Promise<string> {
  const socket = connect(port, "127.0.0.1")
  await once(socket, "connect")
  const chunks: Buffer[] = []
  socket.on("data", (chunk: Buffer) => chunks.push(chunk))
  socket.on("error", () => {})
  socket.write(Buffer.from(hex.replace(/\s/g, ""), "hex"))
  const closed = await Promise.race([once(socket, "close").then(() => true), sleep(ms).then(() => false)])
  socket.destroy()
  return `${Buffer.concat(chunks).toString("hex")}${closed ? " closed" : ""}`
}

/** What ends a connection that was accepted. */
const BROKEN = [
  ["MQTT3-1.5.3-1 MQTT3-3.3.2-1: a topic that is not UTF-8", "30 04 0002 c328"],
  ["MQTT3-1.5.3-2 MQTT3-4.7.3-2: U+0000", "30 03 0001 00"],
  ["MQTT3-2.2.2-1 MQTT3-2.2.2-2 MQTT3-3.8.1-1: flags of a SUBSCRIBE", "80 06 0001 0001 61 00"],
  ["MQTT3-3.10.1-1: flags of an UNSUBSCRIBE", "a0 05 0001 0001 61"],
  ["MQTT3-3.6.1-1: flags of a PUBREL", "60 02 0001"],
  ["MQTT3-3.14.1-1: flags of a DISCONNECT", "e1 00"],
  ["MQTT3-2.3.1-1: packet identifier 0", "32 05 0001 61 0000"],
  ["MQTT3-3.1.0-2: a second CONNECT", "10 0d 0004 4d515454 04 02 003c 0001 61"],
  ["MQTT3-3.3.1-2: DUP at QoS 0", "38 03 0001 61"],
  ["MQTT3-3.3.1-4: QoS 3", "36 05 0001 61 0001"],
  ["MQTT3-3.3.2-2 MQTT3-4.7.1-1: a wildcard in a topic", "30 03 0001 23"],
  ["MQTT3-3.8.3-1: a filter that is not UTF-8", "82 06 0001 0001 ff 00"],
  ["MQTT3-3.8.3-3: a SUBSCRIBE without filters", "82 02 0001"],
  ["MQTT3-3.8.3-4: reserved bits of a QoS", "82 06 0001 0001 61 04"],
  ["MQTT3-3.10.3-1: a filter of UNSUBSCRIBE that is not UTF-8", "a2 05 0001 0001 ff"],
  ["MQTT3-3.10.3-2: an UNSUBSCRIBE without filters", "a2 02 0001"],
  ["MQTT3-4.7.1-2: # that is not the last level", "82 0a 0001 0005 612f232f62 00"],
  ["MQTT3-4.7.1-3: + beside other characters", "82 07 0001 0002 612b 00"],
  ["MQTT3-4.7.3-1: an empty filter", "82 05 0001 0000 00"],
] as const

test("a broken rule closes that connection without a word: MQTT3-4.8.0-1", async (t) => {
  const target = await start(t)
  const calm = await client(target)
  for (const [title, bytes] of BROKEN) {
    const broken = await client(target)
    broken.sendBytes(bytes)
    t.deepEqual(await broken.closed(), { closed: true, code: undefined }, title)
  }
  t.deepEqual(await calm.settle(), [])
})

/** First bytes, and what is said to them. */
const CONNECTS = [
  ["MQTT3-3.1.0-1: no CONNECT first", "c0 00", /^ closed$/],
  ["MQTT3-3.1.2-1: another protocol name", "10 0d 0004 4d515458 04 02 003c 0001 61", /^ closed$/],
  ["MQTT3-3.1.2-2: another level", "10 0d 0004 4d515454 06 02 003c 0001 61", /^2002000[01] closed$|^200300\w+ closed$/],
  ["MQTT3-3.1.2-3: the reserved flag", "10 0d 0004 4d515454 04 03 003c 0001 61", /^ closed$/],
  ["MQTT3-3.1.2-11 MQTT3-3.1.2-13: will QoS without a will", "10 0d 0004 4d515454 04 0a 003c 0001 61", /^ closed$/],
  ["MQTT3-3.1.2-14: will QoS 3", "10 13 0004 4d515454 04 1e 003c 0001 61 0001 62 0001 63", /^ closed$/],
  ["MQTT3-3.1.2-15: will retain without a will", "10 0d 0004 4d515454 04 22 003c 0001 61", /^ closed$/],
  ["MQTT3-3.1.2-18: a user name without its flag", "10 10 0004 4d515454 04 02 003c 0001 61 0001 62", /^ closed$/],
  ["MQTT3-3.1.2-19: a user name flag without one", "10 0d 0004 4d515454 04 82 003c 0001 61", /^ closed$/],
  [
    "MQTT3-3.1.2-20: a password without its flag",
    "10 13 0004 4d515454 04 82 003c 0001 61 0001 62 0001 63",
    /^ closed$/,
  ],
  ["MQTT3-3.1.2-21: a password flag without one", "10 10 0004 4d515454 04 c2 003c 0001 61 0001 62", /^ closed$/],
  ["MQTT3-3.1.2-22: a password without a user name", "10 10 0004 4d515454 04 42 003c 0001 61 0001 62", /^ closed$/],
  [
    "MQTT3-3.1.3-8 MQTT3-3.1.3-7: no identifier and a session to keep",
    "10 0c 0004 4d515454 04 00 003c 0000",
    /^20020002 closed$/,
  ],
  ["MQTT3-3.1.3-4: an identifier that is not UTF-8", "10 0d 0004 4d515454 04 02 003c 0001 ff", /^ closed$/],
  [
    "MQTT3-3.1.3-10: a will topic that is not UTF-8",
    "10 13 0004 4d515454 04 06 003c 0001 61 0001 ff 0001 63",
    /^ closed$/,
  ],
  ["MQTT3-3.1.3-11: a user name that is not UTF-8", "10 10 0004 4d515454 04 82 003c 0001 61 0001 ff", /^ closed$/],
] as const

test("a CONNECT that breaks a rule is closed: MQTT3-3.1.4-1", async (t) => {
  const target = await start(t)
  for (const [title, bytes, said] of CONNECTS) t.regex(await answer(target, bytes), said, title)
})

test("MQTT3-3.1.4-4 MQTT3-3.1.4-5 MQTT3-3.2.0-1 MQTT3-3.2.2-4 MQTT3-3.2.2-5 MQTT3-3.2.2-6: CONNACK comes first; one that refuses has session present 0 and a close behind it, and what came along is not done", async (t) => {
  const target = await start(t, { auth: { jwt: { secret: "between us" } } })
  const bytes = "10 13 0004 4d515454 04 c2 003c 0001 61 0001 62 0001 63 31 04 0001 72 78"
  t.is(await answer(target, bytes, 2_000), "20020004 closed")
  t.is(await answer(target, "10 0d 0004 4d515454 04 02 003c 0001 61 c0 00", 2_000), "20020005 closed")
  const plain = await start(t)
  t.is(await answer(plain, "10 0d 0004 4d515454 04 02 003c 0001 61 c0 00"), "20020000d000")
})

test("sessions, over TCP and without any extension: MQTT3-7.0.0-2 MQTT3-7.1.1-1 MQTT3-3.1.2-4 MQTT3-3.1.2-5 MQTT3-3.1.2-6 MQTT3-3.1.4-2 MQTT3-3.1.4-3 MQTT3-3.2.2-1 MQTT3-3.2.2-2 MQTT3-3.2.2-3 MQTT3-3.1.3-2 MQTT3-3.1.3-5 MQTT3-4.1.0-1 MQTT3-4.1.0-2", async (t) => {
  const target = await start(t)
  const present = async (options: object) => {
    const { client: made, connack } = await open(target, options)
    return { made, present: (connack as IConnackPacket).sessionPresent }
  }
  const id = "0123456789abcdefghijABC"
  const first = await present(stays(id))
  t.false(first.present)
  first.made.send(subscribe("kept", { qos: 2 }))
  await first.made.expect("suback")
  const second = await present(stays(id))
  t.true(second.present)
  t.true((await first.made.closed()).closed, "the one before is closed")
  second.made.drop()
  await sleep(50)
  const from = await client(target)
  for (const qos of [0, 1, 2]) from.send(publish("kept", String(qos), { qos, messageId: qos + 1 }))
  await from.settle()
  const third = await present(stays(id))
  const got = [await third.made.expect("publish"), await third.made.expect("publish")]
  t.deepEqual(
    got.map(({ payload }) => String(payload)),
    ["1", "2"],
  )
  const clean = await present({ clientId: id, clean: true })
  t.false(clean.present)
  clean.made.drop()
  await sleep(50)
  t.false((await present(stays(id))).present, "a clean session is not kept")
})

test("MQTT3-3.1.2-7: retained messages outlive every session; MQTT3-3.1.3-6: a client without an identifier is let in", async (t) => {
  const target = await start(t)
  const { client: from, connack } = await open(target, { clientId: "" })
  t.is((connack as IConnackPacket).returnCode, 0)
  from.send(publish("r", "kept", { retain: true, qos: 1, messageId: 1 }))
  await from.expect("puback")
  from.send({ cmd: "disconnect" })
  await from.closed()
  t.is(String((await (await reader(target, "r")).expect("publish")).payload), "kept")
})

test("wills: MQTT3-3.1.2-8 MQTT3-3.1.2-9 MQTT3-3.1.2-10 MQTT3-3.1.2-12 MQTT3-3.1.2-16 MQTT3-3.1.2-17 MQTT3-3.1.3-1 MQTT3-3.14.4-3", async (t) => {
  const target = await start(t)
  const watcher = await reader(target, "will/#", 1)
  const will = (name: string, retain: boolean) => ({
    username: "u",
    password: Buffer.from("p"),
    will: { topic: `will/${name}`, payload: Buffer.from(name), qos: 1 as const, retain },
  })
  const polite = await client(target, will("polite", false))
  polite.send({ cmd: "disconnect" })
  await polite.closed()
  ;(await client(target)).drop()
  ;(await client(target, will("lost", false))).drop()
  t.like(await watcher.expect("publish"), { topic: "will/lost", qos: 1 })
  ;(await client(target, will("retained", true))).drop()
  t.is((await watcher.expect("publish")).topic, "will/retained")
  t.deepEqual(await watcher.settle(), [])
  const late = await client(target)
  late.send(subscribe("will/#", { qos: 0 }))
  t.deepEqual(
    published(await late.settle()).map(({ topic }) => topic),
    ["will/retained"],
  )
})

test("MQTT3-3.1.2-24: silence of one and a half keep-alives closes; MQTT3-3.12.4-1: a PINGREQ is answered", async (t) => {
  const target = await start(t)
  const silent = await client(target, { keepalive: 1 })
  const began = Date.now()
  silent.send({ cmd: "pingreq" })
  t.is((await silent.next())?.cmd, "pingresp")
  t.true((await silent.closed()).closed)
  t.true(Date.now() - began >= 1_400)
})

test("retained messages: MQTT3-3.3.1-5 MQTT3-3.3.1-6 MQTT3-3.3.1-7 MQTT3-3.3.1-8 MQTT3-3.3.1-9 MQTT3-3.3.1-10 MQTT3-3.3.1-11 MQTT3-3.3.1-12", async (t) => {
  const target = await start(t)
  const from = await client(target)
  const standing = await reader(target, "re")
  const kept = async (): Promise<string[]> => {
    const late = await client(target)
    late.send(subscribe("re", { qos: 0 }))
    return published(await late.settle()).map(({ payload, retain }) => `${payload} ${retain}`)
  }
  from.send(publish("re", "one", { retain: true, qos: 1, messageId: 1 }))
  from.send(publish("re", "two", { retain: true }))
  from.send(publish("re", "live"))
  await from.settle()
  t.deepEqual(await kept(), ["two true"], "the last one, QoS 0 too")
  from.send(publish("re", "", { retain: true }))
  await from.settle()
  t.deepEqual(await kept(), [])
  const seen = published(await standing.settle()).map(({ payload, retain }) => `${payload} ${retain}`)
  t.deepEqual(seen, ["one false", "two false", "live false", " false"])
})

test("QoS: MQTT3-3.3.4-1 MQTT3-2.3.1-5 MQTT3-2.3.1-6 MQTT3-4.3.1-1 MQTT3-4.3.2-2 MQTT3-4.3.3-2 MQTT3-4.5.0-1 MQTT3-3.3.1-3", async (t) => {
  const target = await start(t)
  const to = await reader(target, "q", 2)
  const from = await client(target)
  for (const dup of [false, true]) {
    from.send(publish("q", "two", { qos: 2, messageId: 9, dup }))
    t.like(await from.next(), { cmd: "pubrec", messageId: 9 })
  }
  from.send({ cmd: "pubrel", messageId: 9 })
  t.like(await from.next(), { cmd: "pubcomp", messageId: 9 })
  from.send(publish("q", "one", { qos: 1, messageId: 9, dup: true }))
  t.like(await from.next(), { cmd: "puback", messageId: 9 })
  from.send(publish("q", "none"))
  const got = []
  for (let n = 0; n < 3; n++) got.push(await to.expect("publish"))
  t.deepEqual(
    got.map(({ payload, qos, dup }) => [String(payload), qos, dup]),
    [
      ["two", 2, false],
      ["one", 1, false],
      ["none", 0, false],
    ],
  )
  t.is(got[2]?.messageId ?? 0, 0)
})

test("MQTT3-4.4.0-1 MQTT3-3.3.1-1 MQTT3-2.3.1-4 MQTT3-4.3.2-1 MQTT3-4.3.3-1 MQTT3-2.3.1-2 MQTT3-2.3.1-3: what is not acknowledged comes again with its identifier and DUP", async (t) => {
  const target = await start(t)
  const to = await reader(target, "again", 2, stays("again"))
  const from = await client(target)
  const ids = []
  for (const qos of [1, 2]) {
    from.send(publish("again", String(qos), { qos, messageId: qos }))
    ids.push((await to.expect("publish")).messageId)
  }
  t.is(new Set(ids).size, 2)
  to.send({ cmd: "pubrec", messageId: ids[1] })
  await to.expect("pubrel")
  to.drop()
  await sleep(50)
  const { client: back } = await open(target, stays("again"))
  t.like(await back.next(), { cmd: "publish", messageId: ids[0], dup: true })
  t.like(await back.next(), { cmd: "pubrel", messageId: ids[1] })
})

test("MQTT3-4.6.0-5 MQTT3-4.6.0-6: a topic's messages keep their order", async (t) => {
  const target = await start(t)
  const to = await reader(target, "order", 1)
  const from = await client(target)
  const many = Array.from({ length: 60 }, (_, n) => String(n))
  for (const [at, n] of many.entries()) from.send(publish("order", n, { qos: 1, messageId: at + 1 }))
  const got = []
  for (const _ of many) {
    const packet = await to.expect("publish")
    got.push(String(packet.payload))
    to.send({ cmd: "puback", messageId: packet.messageId })
  }
  t.deepEqual(got, many)
})

test("SUBSCRIBE: MQTT3-2.3.1-7 MQTT3-3.8.4-1 MQTT3-3.8.4-2 MQTT3-3.8.4-3 MQTT3-3.8.4-4 MQTT3-3.8.4-5 MQTT3-3.8.4-6 MQTT3-3.9.3-1 MQTT3-3.9.3-2 MQTT3-3.3.5-1 MQTT3-3.3.2-3", async (t) => {
  const target = await start(t, {
    auth: {
      acl: [
        { deny: "all", topic: "no" },
        { allow: "all", topic: "#" },
      ],
    },
  })
  const to = await client(target)
  to.send(publish("s/a", "kept", { retain: true, qos: 1, messageId: 1 }))
  await to.expect("puback")
  const subscriptions = [
    { topic: "s/+", qos: 1 },
    { topic: "no", qos: 0 },
    { topic: "s/#", qos: 0 },
  ]
  to.send({ cmd: "subscribe", messageId: 77, subscriptions })
  t.like(await to.next(), { cmd: "suback", messageId: 77, granted: [1, 0x80, 0] })
  await to.settle()
  to.send(publish("s/a", "x", { qos: 2, messageId: 2 }))
  t.deepEqual(
    published(await to.settle()).map(({ topic, qos }) => [topic, qos]),
    [["s/a", 1]],
    "the highest of what overlaps",
  )
  to.send({ ...subscribe("s/+", { qos: 0 }), messageId: 78 })
  t.like(await to.next(), { cmd: "suback", messageId: 78, granted: [0] })
  t.like(await to.next(), { cmd: "publish", retain: true })
})

test("UNSUBSCRIBE: MQTT3-3.10.4-1 MQTT3-3.10.4-2 MQTT3-3.10.4-3 MQTT3-3.10.4-4 MQTT3-3.10.4-5 MQTT3-3.10.4-6", async (t) => {
  const target = await start(t)
  const to = await reader(target, "u/+", 2)
  const from = await client(target)
  from.send(publish("u/a", "under way", { qos: 2, messageId: 1 }))
  const { messageId } = await to.expect("publish")
  to.send({ ...unsubscribe("U/+", "u/a"), messageId: 5 })
  t.like(await to.next(), { cmd: "unsuback", messageId: 5 })
  from.send(publish("u/b", "still"))
  t.is((await to.expect("publish")).topic, "u/b")
  to.send({ ...unsubscribe("u/+", "other"), messageId: 6 })
  t.like(await to.next(), { cmd: "unsuback", messageId: 6 })
  from.send(publish("u/c", "too late"))
  to.send({ cmd: "pubrec", messageId })
  t.is((await to.expect("pubrel")).messageId, messageId)
  to.send({ cmd: "pubcomp", messageId })
  t.deepEqual(await to.settle(), [])
})

test("MQTT3-3.3.5-2: a publish that is not allowed is acknowledged and goes nowhere", async (t) => {
  const target = await start(t, {
    auth: {
      acl: [
        { deny: "publish", topic: "no" },
        { allow: "all", topic: "#" },
      ],
    },
  })
  const to = await reader(target, "no")
  const from = await client(target)
  from.send(publish("no", "x", { qos: 1, messageId: 3 }))
  t.like(await from.next(), { cmd: "puback", messageId: 3 })
  t.deepEqual(await to.settle(), [])
})

test("MQTT3-4.8.0-2: what cannot be taken now ends the connection, so that it comes again", async (t) => {
  const target = await start(t, { broker: { maxRetained: 0 } })
  const from = await client(target)
  from.send(publish("full", "x", { retain: true, qos: 1, messageId: 1 }))
  t.deepEqual(await from.closed(), { closed: true, code: undefined })
})

test("topics: MQTT3-1.5.3-3 MQTT3-4.7.2-1 MQTT3-4.7.3-3 MQTT3-4.7.3-4", async (t) => {
  const target = await start(t)
  const to = await reader(target, "#")
  const topics = ["\uFEFFa", "A", "a", "/a", "a/", "t".repeat(65_535)]
  for (const topic of topics) to.send(publish(topic, "x"))
  to.send(publish("$other/a", "x"))
  t.deepEqual(
    published(await to.settle()).map(({ topic }) => topic),
    topics,
  )
})

test("MQTT3-6.0.0-1 MQTT3-6.0.0-2 MQTT3-6.0.0-4: MQTT over WebSocket is binary, cut anywhere, under the subprotocol mqtt", async (t) => {
  const { port } = await start(t)
  const socket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, "mqtt")
  await once(socket, "open")
  t.is(socket.protocol, "mqtt")
  const bytes = Buffer.from("100d00044d5154540402003c000161c000", "hex")
  for (const byte of bytes) socket.send(Buffer.of(byte))
  let got = ""
  socket.on("message", (data: Buffer) => {
    got += data.toString("hex")
  })
  for (const end = Date.now() + 3_000; got.length < 12 && Date.now() < end; ) await sleep(10)
  t.is(got, "20020000d000")
  socket.send("text")
  t.is(((await once(socket, "close")) as [number])[0], 1003)
})
