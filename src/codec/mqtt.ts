/**
 * MQTT 3.1, 3.1.1 and 5 by the codec of the gateway: bytes to packets and back. One
 * native call for a whole batch; payloads are views of the bytes that were given.
 */
import { TidegateError } from "../errors.ts"
import { asBuffer, cross, Fields, fieldAt, numbersOf, type Span, written } from "./crossing.ts"
import type { MqttPacket, MqttVersion } from "./mqtt-packet.ts"
import { fromNumbers, toNumbers } from "./mqtt-plain.ts"
import { type Entry, toEntries, toProperties } from "./mqtt-properties.ts"

export interface MqttDecodeOptions {
  /** Without it the first packet must be a CONNECT, which says it. */
  readonly version?: MqttVersion
  /** Larger packets are refused, bytes; default 268,435,460, the protocol's own bound. */
  readonly maxPacketBytes?: number
}

export interface MqttEncodeOptions {
  /** Default 5; a CONNECT knows its own. */
  readonly version?: MqttVersion
}

/** Takes bytes as they arrive, keeps what is left of a packet. */
export interface MqttDecoder {
  /** The packets that are whole by now. Throws CODEC_INVALID; the connection is of no use then. */
  push(bytes: Uint8Array): MqttPacket[]
  /** Bytes of the packet that has begun. */
  readonly pending: number
}

interface Found {
  readonly packets: readonly MqttPacket[]
  /** Bytes of whole packets. */
  readonly used: number
  /** 0: not known yet. */
  readonly version: number
  readonly problem: string | null
}

interface WireFields {
  properties?: readonly Entry[]
  payload?: Span
}

type Wire = WireFields & {
  readonly type: string
  readonly password?: Span | null
  readonly will?: (WireFields & { readonly topic: string }) | null
}

const MAX_PACKET = 268_435_460

/** One packet that is the whole of `bytes`. Throws CODEC_INVALID. */
export function decode(bytes: Uint8Array, options: MqttDecodeOptions = {}): MqttPacket {
  const found = decodeFront(bytes, options)
  const [packet] = found.packets
  if (packet === undefined || found.packets.length > 1 || found.used < bytes.length) {
    throw new TidegateError("CODEC_INVALID", found.problem ?? "the bytes are not one whole packet")
  }
  return packet
}

/** All packets of `bytes`, which must end with a packet. Throws CODEC_INVALID. */
export function decodeAll(bytes: Uint8Array, options: MqttDecodeOptions = {}): MqttPacket[] {
  const { packets, used, problem } = decodeFront(bytes, options)
  if (used < bytes.length) throw new TidegateError("CODEC_INVALID", problem ?? "the last packet is cut off")
  return packets as MqttPacket[]
}

export function createDecoder({ version, maxPacketBytes }: MqttDecodeOptions = {}): MqttDecoder {
  // Put together once the packet is whole: doing so for each segment would copy a large one over and over.
  let parts: Uint8Array[] = []
  let pending = 0
  let wanted = 0
  let known = version
  return {
    get pending() {
      return pending
    },
    push(bytes) {
      pending += bytes.length
      if (pending < wanted) {
        // A copy: whoever gave the bytes may use them again.
        parts.push(Buffer.from(bytes))
        return []
      }
      const all = parts.length === 0 ? bytes : Buffer.concat([...parts, bytes])
      const found = decodeFront(all, { version: known, maxPacketBytes })
      if (found.problem !== null) throw new TidegateError("CODEC_INVALID", found.problem)
      if (found.version !== 0) known = found.version as MqttVersion
      const rest = all.subarray(found.used)
      parts = rest.length === 0 ? [] : [Buffer.from(rest)]
      pending = rest.length
      wanted = packetBytes(rest)
      return found.packets as MqttPacket[]
    },
  }
}

/** Bytes of the packet that begins here; 0 where its head does not say it yet. */
function packetBytes(bytes: Uint8Array): number {
  let length = 0
  // MQTT-2.1.4: a type, then one to four bytes of length, the lowest first.
  for (const [index, byte] of bytes.subarray(1, 5).entries()) {
    length += (byte & 127) * 128 ** index
    if (byte < 128) return 2 + index + length
  }
  return 0
}

/** The bytes of one packet. Throws CODEC_INVALID for what the decoder would refuse. */
export function encode(packet: MqttPacket, options: MqttEncodeOptions = {}): Buffer {
  return encodeAll([packet], options)
}

/** The bytes of all packets, one behind the other. */
export function encodeAll(packets: readonly MqttPacket[], { version = 5 }: MqttEncodeOptions = {}): Buffer {
  const plain = toNumbers(packets)
  if (plain !== undefined) {
    const { numbers, fields, most } = plain
    return written(most, (codec, out) => codec.mqttEncodePlain(numbers, fields.join(), version, out))
  }
  const fields = new Fields()
  const json = JSON.stringify(packets.map((packet) => toWire(packet, fields)))
  return cross((codec) => codec.mqttEncode(json, fields.join(), version))
}

function decodeFront(bytes: Uint8Array, { version = undefined, maxPacketBytes }: MqttDecodeOptions): Found {
  const buffer = asBuffer(bytes)
  const most = maxPacketBytes ?? MAX_PACKET
  const found = numbersOf((codec, numbers) => codec.mqttDecode(buffer, version ?? 0, most, numbers))
  if (typeof found !== "string") return { ...fromNumbers(found, buffer), problem: null }
  const { packets, ...rest } = JSON.parse(found) as Omit<Found, "packets"> & { readonly packets: readonly Wire[] }
  return { packets: packets.map((packet) => toPacket(packet, buffer)), ...rest }
}

/** In place: the objects are fresh from JSON. */
function toPacket(wire: Wire, bytes: Buffer): MqttPacket {
  const packet = wire as unknown as Record<string, unknown>
  expand(wire, bytes)
  if (wire.will) expand(wire.will, bytes)
  if (wire.password) packet.password = fieldAt(bytes, wire.password)
  return packet as unknown as MqttPacket
}

function expand(wire: WireFields, bytes: Buffer): void {
  const target = wire as Record<string, unknown>
  if (wire.payload !== undefined) target.payload = fieldAt(bytes, wire.payload)
  if (wire.properties !== undefined) target.properties = toProperties(wire.properties, bytes)
}

function toWire(packet: MqttPacket, fields: Fields): object {
  const properties = toEntries("properties" in packet ? packet.properties : undefined, fields)
  switch (packet.type) {
    case "publish": {
      const { topic, payload, qos = 0, retain = false, dup = false, packetId = 0 } = packet
      return { type: "publish", topic, qos, retain, dup, packetId, properties, payload: fields.add(payload) }
    }
    case "connect": {
      const { will, password = null } = packet
      const given = will && {
        ...will,
        payload: fields.add(will.payload),
        properties: toEntries(will.properties, fields),
      }
      return { ...packet, properties, will: given, password: password === null ? null : fields.add(password) }
    }
    case "subscribe": {
      const defaults = { noLocal: false, retainAsPublished: false, retainHandling: 0 }
      return { ...packet, properties, filters: packet.filters.map((filter) => ({ ...defaults, ...filter })) }
    }
    case "pingreq":
    case "pingresp":
      return { type: packet.type }
    default:
      return { reason: 0, ...packet, properties }
  }
}
