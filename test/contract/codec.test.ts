/** The codecs through the boundary: what was encoded decodes to the same, in one go or piece by piece. */
import { runInNewContext } from "node:vm"
import fc from "fast-check"
import {
  type CoapFrame,
  type CoapMessage,
  coap,
  coapTcp,
  type MqttConnect,
  type MqttPacket,
  mqtt,
} from "../../src/codec.ts"
import { withAddon } from "../gateway/with-addon.ts"

const bytes = (maxLength: number) => fc.uint8Array({ maxLength }).map((array) => Buffer.from(array))
/** No U+0000, no lone surrogates (MQTT-1.5.4-1, MQTT-1.5.4-2), no wildcards. */
const text = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 20 })
  .filter((value) => !/[\u0000-\u001f\u007f-\u009f+#$]|\p{Cn}|\ufeff/u.test(value))
const id = fc.integer({ min: 1, max: 65_535 })
const number = fc.integer({ min: 0, max: 0xffff_ffff })
const qos = fc.constantFrom(0, 1, 2)
const user = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 })

const publish = fc
  .record({
    topic: text,
    payload: bytes(300),
    retain: fc.boolean(),
    qos,
    packetId: id,
    properties: fc.record(
      {
        messageExpiry: number,
        contentType: text,
        correlationData: bytes(20),
        subscriptionIds: fc.array(fc.integer({ min: 1, max: 268_435_455 }), { minLength: 1, maxLength: 3 }),
        topicAlias: id,
        user,
      },
      { requiredKeys: [] },
    ),
  })
  .map((given) => ({ type: "publish", dup: false, ...given, packetId: given.qos === 0 ? 0 : given.packetId }))
const ack = fc.record({
  type: fc.constantFrom("puback", "pubrec"),
  packetId: id,
  reason: fc.constantFrom(0, 0x10, 0x87),
  properties: fc.record({ reasonString: text, user }, { requiredKeys: [] }),
})
const connect = fc.record({
  type: fc.constant("connect"),
  version: fc.constant(5),
  cleanStart: fc.boolean(),
  keepAlive: fc.integer({ min: 0, max: 65_535 }),
  clientId: text,
  will: fc.option(
    fc.record({
      qos,
      retain: fc.boolean(),
      topic: text,
      payload: bytes(50),
      properties: fc.record({ willDelay: number }, { requiredKeys: [] }),
    }),
  ),
  userName: fc.option(text),
  password: fc.option(bytes(20)),
  properties: fc.record({ sessionExpiry: number, receiveMaximum: id }, { requiredKeys: [] }),
})
const subscribe = fc.record({
  type: fc.constant("subscribe"),
  packetId: id,
  properties: fc.constant({}),
  filters: fc.array(
    fc.record({
      filter: text,
      qos,
      noLocal: fc.boolean(),
      retainAsPublished: fc.boolean(),
      retainHandling: fc.constantFrom(0, 1, 2),
    }),
    { minLength: 1, maxLength: 4 },
  ),
})
const others = fc.constantFrom(
  { type: "pingreq" },
  { type: "pingresp" },
  { type: "connack", sessionPresent: true, code: 0, properties: { maximumQos: 1, retainAvailable: false } },
  { type: "pubrel", packetId: 7, reason: 0, properties: {} },
  { type: "pubcomp", packetId: 7, reason: 0x92, properties: {} },
  { type: "suback", packetId: 7, codes: [0, 1, 0x87], properties: {} },
  { type: "unsubscribe", packetId: 7, filters: ["a/+", "b/#"], properties: {} },
  { type: "unsuback", packetId: 7, codes: [0, 0x11], properties: {} },
  { type: "disconnect", reason: 0x98, properties: { reasonString: "bye" } },
  { type: "auth", reason: 0x18, properties: { authMethod: "SCRAM", authData: Buffer.from("x") } },
)
const packets = fc.array(fc.oneof(publish, ack, connect, subscribe, others), { minLength: 1, maxLength: 6 })

withAddon("every MQTT packet decodes to what was encoded", async (t) => {
  fc.assert(
    fc.property(packets, (given) => {
      const encoded = mqtt.encodeAll(given as unknown as MqttPacket[], { version: 5 })
      t.deepEqual(mqtt.decodeAll(encoded, { version: 5 }) as unknown, given)
    }),
    { numRuns: 200 },
  )
})

withAddon("a stream that is cut anywhere gives the same packets", async (t) => {
  fc.assert(
    fc.property(packets, fc.integer({ min: 1, max: 40 }), (given, size) => {
      const encoded = mqtt.encodeAll(given as unknown as MqttPacket[])
      const decoder = mqtt.createDecoder({ version: 5 })
      const found: unknown[] = []
      for (let at = 0; at < encoded.length; at += size) found.push(...decoder.push(encoded.subarray(at, at + size)))
      t.deepEqual(found, given)
      t.is(decoder.pending, 0)
    }),
    { numRuns: 50 },
  )
})

withAddon("a large packet in small segments is put together once, not with each of them", async (t) => {
  const payload = Buffer.alloc(8 << 20, "x")
  const bytes = mqtt.encodeAll([{ type: "publish", topic: "firmware", payload }, { type: "pingreq" }])
  const decoder = mqtt.createDecoder({ version: 5 })
  const found: MqttPacket[] = []
  const from = process.cpuUsage()
  for (let at = 0; at < bytes.length; at += 1_400) {
    found.push(...decoder.push(bytes.subarray(at, at + 1_400)))
    if (at + 1_400 < 8 << 20) t.is(decoder.pending, at + 1_400)
  }
  t.true(process.cpuUsage(from).user < 2_000_000, "microseconds; copying all that came each time takes ten seconds")
  t.deepEqual(
    found.map(({ type }) => type),
    ["publish", "pingreq"],
  )
  const [first] = found
  t.true(first?.type === "publish" && payload.equals(first.payload as Buffer))
  const short = mqtt.createDecoder({ version: 5, maxPacketBytes: 1_000 })
  t.throws(() => short.push(bytes.subarray(0, 10)), { code: "CODEC_INVALID" })
})

withAddon("every CoAP message decodes to what was encoded", async (t) => {
  const option = fc.record({ number: fc.integer({ min: 1, max: 65_535 }), value: bytes(40) })
  const message = fc.record({
    type: fc.constantFrom("con", "non", "ack", "rst"),
    code: fc.constantFrom("0.01", "0.02", "2.05", "4.04", "5.03"),
    messageId: fc.integer({ min: 0, max: 65_535 }),
    token: bytes(8),
    options: fc.array(option, { maxLength: 6 }).map((list) => list.sort((a, b) => a.number - b.number)),
    payload: bytes(100),
  })
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), (given) => {
      const datagrams = coap.encodeAll(given as CoapMessage[])
      t.deepEqual(coap.decodeAll(datagrams) as unknown, given)
      t.deepEqual(coap.decode(datagrams[0] as Buffer) as unknown, given[0])
    }),
    { numRuns: 200 },
  )
})

withAddon("every frame of CoAP over TCP decodes to what was encoded, however the stream is cut", async (t) => {
  const frame = fc.record({
    code: fc.constantFrom("0.01", "2.05", "7.01"),
    token: bytes(8),
    options: fc.array(fc.record({ number: fc.constantFrom(11, 15, 60), value: bytes(40) }), { maxLength: 2 }),
    payload: bytes(400),
  })
  fc.assert(
    fc.property(fc.array(frame, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 50 }), (drawn, size) => {
      const given = drawn.map((one) => ({ ...one, options: one.options.sort((a, b) => a.number - b.number) }))
      const stream = coapTcp.encodeAll(given as CoapFrame[])
      t.deepEqual(coapTcp.decodeAll(stream) as unknown, { frames: given, used: stream.length })
      const found: unknown[] = []
      for (let at = 0, end = size; at < stream.length; end += size) {
        const { frames, used } = coapTcp.decodeAll(stream.subarray(at, end))
        found.push(...frames)
        at += used
      }
      t.deepEqual(found, given)
    }),
    { numRuns: 100 },
  )
})

withAddon("what is wrong is refused with its rule, both ways", async (t) => {
  const refused = (call: () => unknown, message = /./) => t.throws(call, { code: "CODEC_INVALID", message })
  refused(() => mqtt.decode(Buffer.from([0x30])))
  refused(() => mqtt.decode(Buffer.from([0xc0, 0])), /MQTT-3\.1\.0-1/)
  refused(() => mqtt.decode(Buffer.from([0x36, 4, 0, 1, 0x61, 0]), { version: 4 }), /MQTT-3\.3\.1-4/)
  refused(() => mqtt.encode({ type: "publish", topic: "a/#", payload: "x" }))
  refused(() => mqtt.encode({ type: "puback", packetId: 0 }), /MQTT-2\.2\.1-3/)
  refused(() => mqtt.encode({ type: "publish", topic: "x".repeat(70_000), payload: "" }))
  refused(() => mqtt.encode({ type: "pingreq", version: 9 } as never, { version: 9 as never }))
  refused(() => coap.decode(Buffer.from([0x40])), /RFC 7252 section 3/)
  refused(() => coap.encode({ type: "con", code: "9.99", messageId: 1 }))
  refused(() => coapTcp.decodeAll(Buffer.from([0x10, 0x01, 0xff])), /RFC/)
  refused(() => coapTcp.decodeAll(Buffer.from([0xd0, 200]), { maxFrameBytes: 100 }), /more than 100/)
  refused(() => coapTcp.encodeAll([{ code: "0.01", token: Buffer.alloc(9) }]))
  refused(() => coap.encode({ type: "con", code: "0.01", messageId: 1, token: Buffer.alloc(9) }))
  t.is(mqtt.createDecoder().push(mqtt.encode(CONNECT)).length, 1)
})

withAddon("what is neither bytes nor text is refused, and bytes of another realm are bytes", async (t) => {
  const publish = (payload: unknown) => () => mqtt.encode({ type: "publish", topic: "a", payload } as MqttPacket)
  const request = (payload: unknown) => () => coap.encode({ type: "con", code: "0.02", messageId: 1, payload } as never)
  for (const call of [publish, request]) {
    for (const payload of [21.5, true, { v: 1 }, [1], new ArrayBuffer(4), null]) {
      t.throws(call(payload), { code: "CODEC_INVALID" }, String(payload))
    }
  }
  const foreign = runInNewContext("new Uint8Array([1, 2])") as Uint8Array
  const properties = { correlationData: foreign }
  const packet = mqtt.decode(mqtt.encode({ type: "publish", topic: "a", payload: foreign, properties }), { version: 5 })
  t.like(packet, { payload: Buffer.from(foreign), properties: { correlationData: Buffer.from(foreign) } })
})

withAddon("a CONNECT without user name and password has neither", async (t) => {
  const { userName: _, password: __, ...bare } = CONNECT
  t.like(mqtt.decode(mqtt.encode({ ...bare, version: 5 } as MqttPacket)), { userName: null, password: null })
  t.like(mqtt.decode(mqtt.encode(bare as MqttPacket)), { userName: null, password: null })
})

withAddon("a CONNECT of a bridge says so both ways", async (t) => {
  const bytes = mqtt.encode({ ...CONNECT, isBridge: true } as MqttPacket)
  t.is(bytes[8], 0x84)
  t.like(mqtt.decode(bytes), { type: "connect", version: 4, isBridge: true })
  t.false("isBridge" in mqtt.decode(mqtt.encode(CONNECT)))
})

const CONNECT: MqttConnect = {
  type: "connect",
  version: 4,
  cleanStart: true,
  keepAlive: 60,
  clientId: "a",
  will: null,
  userName: null,
  password: null,
}
