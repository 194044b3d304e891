// The gateway's codecs through the boundary beside the packages that a Node program
// would use (F16): one packet a call, batches of 64, and 64 KB in a call, with payloads of
// 4 bytes, 256 and 16 KB. Times are for one packet; where JavaScript is faster, the table says so.
import coapPacket from "coap-packet"
import mqttPacket from "mqtt-packet"
import { coap, mqtt } from "../../dist/codec.js"

export const title = "codec: one packet, alone and in company"

const PAYLOADS = { "4 B": 4, "256 B": 256, "16 KB": 16 << 10 }
const BATCH = 64
const STREAM_BYTES = 64 << 10
/** What a segment of TCP brings. */
const CHUNK = 1_400

export async function open() {
  const rows = Object.entries(PAYLOADS).map(([size, bytes]) => [size, Buffer.alloc(bytes, "21.5")])
  return { rows: rows.flatMap(([size, payload]) => [...mqttRows(size, payload), ...coapRows(size, payload)]) }
}

/** A peer's way of the same work, then ours; `operations` packets a call. */
function pair(name, operations, [peer, theirs], ours) {
  return [
    { name: `${name}: ${peer}`, peer: true, operations, run: theirs },
    { name: `${name}: tidegate`, operations, run: ours },
  ]
}

/** MQTT 3.1.1. A stream comes in segments, and goes into one buffer; `generate` makes one for each packet. */
function mqttRows(size, payload) {
  const given = { topic: "plant/1/temp", payload, qos: 1, retain: false, dup: false }
  const theirs = { cmd: "publish", ...given, messageId: 7 }
  const ours = { type: "publish", ...given, packetId: 7 }
  const version = { version: 4 }
  const one = mqttPacket.generate(theirs)
  const batch = Buffer.concat(times(BATCH, one))
  const count = Math.max(1, Math.floor(STREAM_BYTES / one.length))
  const stream = Buffer.concat(times(count, one))
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  parser.on("packet", () => {})
  const parse = (bytes) => ["mqtt-packet", () => parser.parse(bytes)]
  const generate = (packets) => ["mqtt-packet", () => packets.map((packet) => mqttPacket.generate(packet))]
  const decoder = mqtt.createDecoder(version)
  const [ourBatch, ourStream] = [times(BATCH, ours), times(count, ours)]
  const segments = ["mqtt-packet", () => inChunks(stream, (part) => parser.parse(part))]
  const name = `PUBLISH ${size}`
  return [
    ...pair(`${name} decode`, 1, parse(one), () => mqtt.decode(one, version)),
    ...pair(`${name} decode, 64 a call`, BATCH, parse(batch), () => mqtt.decodeAll(batch, version)),
    ...pair(`${name} decode, 64 KB a call`, count, parse(stream), () => mqtt.decodeAll(stream, version)),
    ...pair(`${name} decode, 64 KB in segments`, count, segments, () => inChunks(stream, (part) => decoder.push(part))),
    ...pair(`${name} encode`, 1, ["mqtt-packet", () => mqttPacket.generate(theirs)], () => mqtt.encode(ours, version)),
    ...pair(`${name} encode, 64 a call`, BATCH, generate(times(BATCH, theirs)), () =>
      mqtt.encodeAll(ourBatch, version),
    ),
    ...pair(`${name} encode, 64 KB a call`, count, generate(times(count, theirs)), () =>
      mqtt.encodeAll(ourStream, version),
    ),
  ]
}

/** A confirmable PUT to one path. Datagrams have their ends, so that 64 KB of them come as a list. */
function coapRows(size, payload) {
  const path = Buffer.from("temp")
  const common = { code: "0.03", messageId: 7, token: Buffer.from("t"), payload }
  const theirs = { ...common, confirmable: true, options: [{ name: "Uri-Path", value: path }] }
  const ours = { ...common, type: "con", options: [{ number: 11, value: path }] }
  const one = coapPacket.generate(theirs, STREAM_BYTES)
  const count = Math.max(1, Math.floor(STREAM_BYTES / one.length))
  const parse = (datagrams) => ["coap-packet", () => datagrams.map((datagram) => coapPacket.parse(datagram))]
  const write = (message) => coapPacket.generate(message, STREAM_BYTES)
  const generate = (messages) => ["coap-packet", () => messages.map((message) => write(message))]
  const both = (shape, number) => {
    const [datagrams, messages] = [times(number, one), times(number, ours)]
    return [
      ...pair(`${name} decode, ${shape}`, number, parse(datagrams), () => coap.decodeAll(datagrams)),
      ...pair(`${name} encode, ${shape}`, number, generate(times(number, theirs)), () => coap.encodeAll(messages)),
    ]
  }
  const name = `PUT ${size}`
  return [
    ...pair(`${name} decode`, 1, ["coap-packet", () => coapPacket.parse(one)], () => coap.decode(one)),
    ...pair(`${name} encode`, 1, ["coap-packet", () => write(theirs)], () => coap.encode(ours)),
    ...both("64 a call", BATCH),
    ...both("64 KB a call", count),
  ]
}

function times(count, one) {
  return Array.from({ length: count }, () => one)
}

function inChunks(bytes, take) {
  for (let at = 0; at < bytes.length; at += CHUNK) take(bytes.subarray(at, at + CHUNK))
}
