/**
 * Plain packets of MQTT as numbers: PUBLISH, its acknowledgements and pings without properties.
 * Five numbers each, as `codec_plain` of the addon has them.
 */
import { bytesAtMost, Fields, type Found } from "./crossing.ts"
import type { MqttAck, MqttPacket, MqttPublish, Qos } from "./mqtt-packet.ts"

const PUBLISH = 3
const ACKS: readonly MqttAck["type"][] = ["puback", "pubrec", "pubrel", "pubcomp"]
const PINGREQ = 12
const WIDTH = 5
/** First byte, length, length of the topic, packet id. */
const HEAD_MAX = 1 + 4 + 2 + 2
const NONE = Buffer.alloc(0)

/** What was found: how many bytes the packets are, the version or 0, and five numbers each. */
export function fromNumbers(
  { numbers, count }: Found,
  bytes: Buffer,
): { packets: MqttPacket[]; used: number; version: number } {
  const [used = 0, version = 0] = numbers
  const packets: MqttPacket[] = []
  for (let at = 2; at < count; at += WIDTH) {
    const head = numbers[at] as number
    packets.push((head & 255) === PUBLISH ? publishAt(numbers, at, bytes) : shortPacket(head))
  }
  return { packets, used, version }
}

function publishAt(numbers: Uint32Array, at: number, bytes: Buffer): MqttPublish {
  const head = numbers[at] as number
  const topic = numbers[at + 1] as number
  const payload = numbers[at + 3] as number
  const length = numbers[at + 4] as number
  return {
    type: "publish",
    dup: (head & 0x800) !== 0,
    qos: ((head >> 9) & 3) as Qos,
    retain: (head & 0x100) !== 0,
    topic: bytes.toString("utf8", topic, topic + (numbers[at + 2] as number)),
    packetId: head >>> 16,
    properties: {},
    payload: length === 0 ? NONE : bytes.subarray(payload, payload + length),
  }
}

function shortPacket(head: number): MqttPacket {
  const type = head & 255
  if (type >= PINGREQ) return { type: type === PINGREQ ? "pingreq" : "pingresp" }
  const ack = ACKS[type - PUBLISH - 1] as MqttAck["type"]
  return { type: ack, packetId: head >>> 16, reason: (head >> 8) & 255, properties: {} }
}

/** The numbers of packets, their fields, and how long they can be; undefined: one of them is not plain, or not right. */
export function toNumbers(
  packets: readonly MqttPacket[],
): { numbers: Uint32Array; fields: Fields; most: number } | undefined {
  const numbers = new Uint32Array(WIDTH * packets.length)
  let capacity = 0
  for (const packet of packets) {
    if (!isPlain(packet)) return undefined
    capacity += bytesAtMost(packet.topic) + bytesAtMost(packet.payload)
  }
  const fields = new Fields(capacity)
  for (const [index, { topic, payload, qos = 0, retain = false, dup = false, packetId = 0 }] of (
    packets as readonly MqttPublish[]
  ).entries()) {
    const at = WIDTH * index
    numbers[at] = PUBLISH + 256 * ((retain ? 1 : 0) + 2 * qos + (dup ? 8 : 0)) + 65_536 * packetId
    numbers[at + 1] = fields.length
    numbers[at + 2] = fields.put(topic)
    numbers[at + 3] = fields.length
    numbers[at + 4] = fields.put(payload)
  }
  return { numbers, fields, most: fields.length + HEAD_MAX * packets.length }
}

/** Whether it is a PUBLISH without properties whose numbers are numbers: what is wrong with others is said elsewhere. */
function isPlain(packet: MqttPacket): packet is MqttPublish {
  if (packet.type !== "publish" || typeof packet.topic !== "string") return false
  const { payload, properties, qos = 0, packetId = 0 } = packet
  for (const _ in properties) return false
  const isPayload = payload === undefined || typeof payload === "string" || payload instanceof Uint8Array
  const isQos = qos === 0 || qos === 1 || qos === 2
  return isPayload && isQos && Number.isInteger(packetId) && packetId >= 0 && packetId <= 65_535
}
