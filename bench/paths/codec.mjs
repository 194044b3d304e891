// The gateway's codecs through the boundary beside the packages that a Node program
// would use: one packet a call, batches of 64, and a stream of 64 KB. Times are for one
// packet; where JavaScript is faster, the table says so.
import coapPacket from "coap-packet"
import mqttPacket from "mqtt-packet"
import { coap, mqtt } from "../../dist/codec.js"

export const title = "codec: one packet, alone and in company"

const BATCH = 64
const STREAM_BYTES = 64 << 10
const CHUNK = 1_400

export async function open() {
  return { rows: [...mqttRows(), ...coapRows()] }
}

function mqttRows() {
  const payload = Buffer.from("21.5")
  const given = { topic: "plant/1/temp", payload, qos: 1, retain: false, dup: false }
  const theirs = { cmd: "publish", ...given, messageId: 7 }
  const ours = { type: "publish", ...given, packetId: 7 }
  const one = mqttPacket.generate(theirs)
  const batch = Buffer.concat(Array.from({ length: BATCH }, () => one))
  const count = Math.floor(STREAM_BYTES / one.length)
  const stream = Buffer.concat(Array.from({ length: count }, () => one))
  const parser = mqttPacket.parser({ protocolVersion: 4 })
  parser.on("packet", () => {})
  const decoder = mqtt.createDecoder({ version: 4 })
  const batched = Array.from({ length: BATCH }, () => ours)
  return [
    { name: "PUBLISH decode: mqtt-packet", peer: true, run: () => parser.parse(one) },
    { name: "PUBLISH decode: tidegate", run: () => mqtt.decode(one, { version: 4 }) },
    { name: "PUBLISH decode, 64 a call: mqtt-packet", peer: true, operations: BATCH, run: () => parser.parse(batch) },
    {
      name: "PUBLISH decode, 64 a call: tidegate",
      operations: BATCH,
      run: () => mqtt.decodeAll(batch, { version: 4 }),
    },
    {
      name: "PUBLISH decode, 64 KB in segments: mqtt-packet",
      peer: true,
      operations: count,
      run: () => inChunks(stream, (part) => parser.parse(part)),
    },
    {
      name: "PUBLISH decode, 64 KB in segments: tidegate",
      operations: count,
      run: () => inChunks(stream, (part) => decoder.push(part)),
    },
    { name: "PUBLISH encode: mqtt-packet", peer: true, run: () => mqttPacket.generate(theirs) },
    { name: "PUBLISH encode: tidegate", run: () => mqtt.encode(ours, { version: 4 }) },
    {
      name: "PUBLISH encode, 64 a call: mqtt-packet",
      peer: true,
      operations: BATCH,
      run: () => batched.map(() => mqttPacket.generate(theirs)),
    },
    {
      name: "PUBLISH encode, 64 a call: tidegate",
      operations: BATCH,
      run: () => mqtt.encodeAll(batched, { version: 4 }),
    },
  ]
}

function coapRows() {
  const path = Buffer.from("temp")
  const token = Buffer.from("t")
  const theirs = { code: "0.01", messageId: 7, token, options: [{ name: "Uri-Path", value: path }] }
  const ours = { type: "con", code: "0.01", messageId: 7, token, options: [{ number: 11, value: path }] }
  const one = coapPacket.generate(theirs)
  const batch = Array.from({ length: BATCH }, () => one)
  const batched = batch.map(() => ours)
  return [
    { name: "GET decode: coap-packet", peer: true, run: () => coapPacket.parse(one) },
    { name: "GET decode: tidegate", run: () => coap.decode(one) },
    {
      name: "GET decode, 64 a call: coap-packet",
      peer: true,
      operations: BATCH,
      run: () => batch.map((each) => coapPacket.parse(each)),
    },
    { name: "GET decode, 64 a call: tidegate", operations: BATCH, run: () => coap.decodeAll(batch) },
    { name: "GET encode: coap-packet", peer: true, run: () => coapPacket.generate(theirs) },
    { name: "GET encode: tidegate", run: () => coap.encode(ours) },
    {
      name: "GET encode, 64 a call: coap-packet",
      peer: true,
      operations: BATCH,
      run: () => batched.map(() => coapPacket.generate(theirs)),
    },
    { name: "GET encode, 64 a call: tidegate", operations: BATCH, run: () => coap.encodeAll(batched) },
  ]
}

function inChunks(bytes, take) {
  for (let at = 0; at < bytes.length; at += CHUNK) take(bytes.subarray(at, at + CHUNK))
}
