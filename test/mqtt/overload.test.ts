/** Too many, too much, too slow: each bound answers in the protocol's words, is counted, and hurts nobody else. */
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import type { MqttTraceLine } from "../../src/model/mqtt-trace.ts"
import { RawClient, start, type Target } from "./raw.ts"

const publish = (topic: string, payload: string | Buffer, rest: object = {}) => {
  return { cmd: "publish", topic, payload, qos: 0, dup: false, retain: false, ...rest }
}

const subscribe = (topic: string, qos = 0) => ({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] })

interface Row {
  readonly clientId: string
  readonly queued: number
  readonly dropped: number
  readonly inflight: number
  readonly connection: { readonly slow: boolean; readonly waitingBytes: number; readonly version: number } | null
  readonly lastError: { readonly text: string } | null
}

async function client(target: Target, clientId: string): Promise<Row | undefined> {
  const rows = JSON.parse(await target.gateway.native.mqttClients(JSON.stringify({ clientId }))) as { items: Row[] }
  return rows.items[0]
}

test("a client that does not read loses QoS 0, is named in the log and the admin API, and nobody else waits", async (t) => {
  const target = await start(t, { workers: 1, broker: { maxWaitingBytes: 65_536 } })
  const lines: string[] = []
  target.gateway.on("log", ({ text }) => lines.push(text))
  const { client: slow } = await RawClient.connect(target, { clientId: "slow" })
  const { client: quick } = await RawClient.connect(target, { clientId: "quick" })
  for (const reader of [slow, quick]) {
    reader.send(subscribe("load"))
    await reader.expect("suback")
  }
  slow.pause()
  const { client: writer } = await RawClient.connect(target)
  const payload = Buffer.alloc(50_000, 1)
  for (let n = 0; n < 400; n++) {
    writer.send(publish("load", payload))
    t.is((await quick.expect("publish")).payload.length, payload.length)
  }
  const row = await client(target, "slow")
  t.true(row?.connection?.slow)
  t.true((row?.connection?.waitingBytes ?? 0) > 65_536)
  t.false((await client(target, "quick"))?.connection?.slow)
  for (const end = Date.now() + 3_000; Date.now() < end && lines.length === 0; ) await sleep(10)
  t.is(lines.filter((line) => line.includes('client "slow"')).length, 1)
  slow.resume()
  let received = 0
  while ((await slow.next(500)) !== null) received++
  t.true(received > 0 && received < 400)
  t.false((await client(target, "slow"))?.connection?.slow)
})

test("a full queue drops the newest of QoS 1, counts it for its client, and keeps the oldest in order", async (t) => {
  const target = await start(t, { workers: 1, broker: { maxQueued: 5 }, mqtt: { maxInflight: 3 } })
  const session = { clientId: "away", clean: false, properties: { sessionExpiryInterval: 60 } }
  const { client: away } = await RawClient.connect(target, session)
  away.send(subscribe("job", 1))
  await away.expect("suback")
  away.drop()
  await sleep(50)
  const { client: writer } = await RawClient.connect(target)
  for (let n = 0; n < 9; n++) writer.send(publish("job", String(n), { qos: 1, messageId: n + 1 }))
  await writer.settle()
  const row = await client(target, "away")
  t.deepEqual([row?.queued, row?.dropped, row?.connection], [5, 4, null])
  const { client: back } = await RawClient.connect(target, session)
  const seen = []
  for (let n = 0; n < 5; n++) {
    const { payload, messageId } = await back.expect("publish")
    seen.push(String(payload))
    back.send({ cmd: "puback", messageId })
  }
  t.deepEqual(seen, ["0", "1", "2", "3", "4"])
})

test("no more than the client's receive maximum is under way to it", async (t) => {
  const target = await start(t)
  const { client: reader } = await RawClient.connect(target, { properties: { receiveMaximum: 2 } })
  reader.send(subscribe("job", 2))
  await reader.expect("suback")
  const { client: writer } = await RawClient.connect(target)
  for (let n = 1; n <= 4; n++) writer.send(publish("job", String(n), { qos: 1, messageId: n }))
  await writer.settle()
  const first = (await reader.settle()).filter(({ cmd }) => cmd === "publish")
  t.is(first.length, 2)
  reader.send({ cmd: "puback", messageId: first[0]?.messageId })
  t.is(String((await reader.expect("publish")).payload), "3")
})

test("who sends more than the server's receive maximum is closed with 0x93", async (t) => {
  const target = await start(t, { mqtt: { receiveMaximum: 2 } })
  const { client: writer, connack } = await RawClient.connect(target)
  t.is((connack as { properties?: { receiveMaximum?: number } }).properties?.receiveMaximum, 2)
  for (let n = 1; n <= 3; n++) writer.send(publish("job", "x", { qos: 2, messageId: n }))
  t.deepEqual(await writer.closed(), { closed: true, code: 0x93 })
})

test("a client may have as much of QoS 2 under way as the server's receive maximum says", async (t) => {
  const target = await start(t, { mqtt: { receiveMaximum: 2_000 } })
  const { client } = await RawClient.connect(target)
  for (let messageId = 1; messageId <= 2_000; messageId++) client.send(publish("a", "x", { qos: 2, messageId }))
  const codes = (await client.settle()).map((packet) =>
    packet.cmd === "pubrec" ? (packet.reasonCode ?? 0) : packet.cmd,
  )
  t.is(codes.length, 2_000)
  t.deepEqual([...new Set(codes)], [0x10])
})

test("a packet over the limit is refused with 0x95 before its body came", async (t) => {
  const target = await start(t, { mqtt: { maxPacketBytes: 1_000 } })
  const { client: writer } = await RawClient.connect(target, { clientId: "large" })
  writer.sendBytes("30 e9 07 00 01")
  t.deepEqual(await writer.closed(), { closed: true, code: 0x95 })
  const { client: again } = await RawClient.connect(target, { clientId: "large" })
  await again.settle()
  t.regex((await client(target, "large"))?.lastError?.text ?? "", /larger than the limit/)
})

test("quotas answer 0x97: retained messages, subscriptions, sessions", async (t) => {
  const target = await start(t, {
    broker: { maxRetained: 1, maxSubscriptionsPerClient: 1 },
    mqtt: { maxSessions: 2 },
  })
  const { client: writer } = await RawClient.connect(target)
  for (const [topic, code] of [
    ["a", 0x10],
    ["b", 0x97],
  ] as const) {
    writer.send(publish(topic, "x", { qos: 1, messageId: 1, retain: true }))
    t.is((await writer.expect("puback")).reasonCode, code)
  }
  const subscriptions = ["a", "b"].map((topic) => ({ topic, qos: 0 }))
  writer.send({ cmd: "subscribe", messageId: 2, subscriptions })
  t.deepEqual((await writer.expect("suback")).granted, [0, 0x97])
  await RawClient.connect(target)
  const { connack } = await RawClient.connect(target)
  t.is((connack as { reasonCode?: number }).reasonCode, 0x97)
})

test("CONNECTs beyond the rate hear 0x9F and when to come again; who is connected does not feel it", async (t) => {
  const target = await start(t, { mqtt: { maxConnectsPerS: 20 } })
  const { client: calm } = await RawClient.connect(target)
  const connacks = await Promise.all(
    Array.from({ length: 60 }, async () => (await RawClient.connect(target)).connack as Connack),
  )
  const refused = connacks.filter(({ reasonCode }) => reasonCode === 0x9f)
  t.true(refused.length >= 30 && refused.length < 60, `${refused.length} were refused`)
  const hints = refused.map(({ properties }) => Number(properties?.userProperties?.["retry-after"]))
  t.true(hints.every((hint) => hint >= 1 && hint <= 10))
  t.true(new Set(hints).size > 1, "they do not all come back at once")
  t.deepEqual(await calm.settle(), [])
  const { connack: older } = await RawClient.connect(target, { protocolVersion: 4 })
  t.true([0, 3].includes((older as { returnCode?: number }).returnCode ?? -1))
})

interface Connack {
  readonly reasonCode?: number
  readonly properties?: { readonly userProperties?: Record<string, string> }
}

test("a trace shows a client's packets both ways, and nothing of others", async (t) => {
  const target = await start(t)
  const lines: MqttTraceLine[] = []
  const stop = target.gateway.trace({ clientId: "seen" }, (line) => lines.push(line))
  const { client: seen } = await RawClient.connect(target, { clientId: "seen" })
  const { client: other } = await RawClient.connect(target, { clientId: "other" })
  seen.send(subscribe("a/+"))
  await seen.expect("suback")
  other.send(publish("a/b", "hello"))
  await seen.expect("publish")
  for (const end = Date.now() + 3_000; Date.now() < end && lines.length < 3; ) await sleep(10)
  t.deepEqual(
    lines.map(({ direction, packet, topic, bytes }) => [direction, packet, topic, bytes]),
    [
      ["in", "connect", null, null],
      ["in", "subscribe", "a/+", null],
      ["out", "publish", "a/b", 5],
    ],
  )
  stop()
  seen.send({ cmd: "pingreq" })
  await seen.expect("pingresp")
  await sleep(50)
  t.is(lines.length, 3)
})

test("by default a payload of 1 MiB passes with its properties, also to who is away, and a burst of 1,000 times 10 kB beyond the receive maximum", async (t) => {
  const target = await start(t)
  const properties = { contentType: "application/octet-stream", userProperties: { name: "x".repeat(1_000) } }
  const away = { clientId: "away", clean: false, properties: { sessionExpiryInterval: 60, receiveMaximum: 10 } }
  const { client: first } = await RawClient.connect(target, away)
  first.send(subscribe("large/#", 1))
  await first.expect("suback")
  first.drop()
  const { client: from } = await RawClient.connect(target)
  const send = async (payload: Buffer, messageId: number) => {
    from.send(publish("large/1", payload, { qos: 1, messageId, properties }))
    t.is((await from.expect("puback")).reasonCode ?? 0, 0)
  }
  await send(Buffer.alloc(1 << 20, 1), 1)
  const { client: back } = await RawClient.connect(target, away)
  const large = await back.expect("publish")
  t.is(large.payload.length, 1 << 20)
  t.deepEqual(large.properties?.userProperties, { ...properties.userProperties })
  back.drop()
  for (let n = 0; n < 999; n++) await send(Buffer.alloc(10_000, 1), n + 2)
  const { client: again } = await RawClient.connect(target, away)
  for (let n = 0; n < 1_000; n++) again.send({ cmd: "puback", messageId: (await again.expect("publish")).messageId })
  t.deepEqual(await again.settle(), [])
})
