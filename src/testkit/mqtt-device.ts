/** A fake MQTT device: what a client library does, and nothing behind the test's back but acknowledgements. */
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import {
  type MqttConnack,
  type MqttConnect,
  type MqttPacket,
  type MqttProperties,
  type MqttPublish,
  type MqttVersion,
  mqtt,
  type Qos,
} from "../codec/index.ts"
import { TidegateError } from "../errors.ts"
import { Queue } from "./queue.ts"

export interface MqttDeviceOptions {
  readonly clientId: string
  /** Default 5. */
  readonly version?: MqttVersion
  /** Default true. */
  readonly cleanStart?: boolean
  readonly userName?: string
  readonly password?: string
  readonly will?: MqttConnect["will"]
  readonly properties?: MqttProperties
}

export interface DevicePublish {
  readonly qos?: Qos
  readonly retain?: boolean
  readonly properties?: MqttProperties
}

export class MqttDevice {
  readonly connack: MqttConnack
  readonly #socket: Socket
  readonly #version: MqttVersion
  readonly #messages = new Queue<MqttPublish>("messages")
  readonly #answers = new Queue<MqttPacket>("answers")
  #nextId = 1

  private constructor(socket: Socket, version: MqttVersion, connack: MqttConnack) {
    this.#socket = socket
    this.#version = version
    this.connack = connack
  }

  /** Connects; throws TEST_REFUSED with the reason code when it is not taken. */
  static async open(port: number, options: MqttDeviceOptions): Promise<MqttDevice> {
    const { clientId, version = 5, cleanStart = true, userName = null, password = null, will = null } = options
    const socket = connect(port, "127.0.0.1")
    await once(socket, "connect")
    const packets = new Queue<MqttPacket>("packets")
    const decoder = mqtt.createDecoder({ version })
    let take = (packet: MqttPacket): void => packets.push(packet)
    let end = (error: Error): void => packets.end(error)
    socket.on("data", (bytes) => {
      for (const packet of decoder.push(bytes)) take(packet)
    })
    socket.on("error", (error) => end(error))
    socket.on("close", () => end(new Error(`the gateway closed the connection of ${clientId}`)))
    const { properties } = options
    const first = { type: "connect", version, cleanStart, keepAlive: 0, clientId, will, userName, password } as const
    socket.write(mqtt.encode({ ...first, ...(properties !== undefined && { properties }) }, { version }))
    const connack = await packets.next()
    if (connack.type !== "connack" || connack.code !== 0) {
      socket.destroy()
      const code = connack.type === "connack" ? `0x${connack.code.toString(16)}` : connack.type
      throw new TidegateError("TEST_REFUSED", `the CONNECT of ${clientId} was answered with ${code}`)
    }
    const device = new MqttDevice(socket, version, connack)
    take = (packet) => device.#take(packet)
    end = (error) => device.#end(error)
    while (packets.length > 0) device.#take(await packets.next())
    return device
  }

  /** The granted QoS, or the reason code from 128 on. */
  async subscribe(filter: string, qos: Qos = 0): Promise<number> {
    const packetId = this.#id()
    this.#send({ type: "subscribe", packetId, filters: [{ filter, qos }] })
    const suback = await this.#answer("suback", packetId)
    return suback.type === "suback" ? (suback.codes[0] ?? 0) : 0
  }

  /** Resolves with the reason code: at once for QoS 0, with PUBACK or PUBCOMP else. */
  async publish(topic: string, payload: string | Uint8Array, options: DevicePublish = {}): Promise<number> {
    const { qos = 0, retain = false, properties } = options
    const packetId = qos === 0 ? 0 : this.#id()
    const more = properties === undefined ? {} : { properties }
    this.#send({ type: "publish", topic, payload, qos, retain, packetId, ...more })
    if (qos === 0) return 0
    if (qos === 1) return reasonOf(await this.#answer("puback", packetId))
    const reason = reasonOf(await this.#answer("pubrec", packetId))
    if (reason >= 128) return reason
    this.#send({ type: "pubrel", packetId })
    return reasonOf(await this.#answer("pubcomp", packetId))
  }

  /** The next message; throws TEST_TIMEOUT. */
  async next(timeoutMs?: number): Promise<{ topic: string; text: string; packet: MqttPublish }> {
    const packet = await this.#messages.next(timeoutMs)
    return { topic: packet.topic, text: Buffer.from(packet.payload as Uint8Array).toString("utf8"), packet }
  }

  /** How many messages nobody has asked for. */
  get waiting(): number {
    return this.#messages.length
  }

  /** Says goodbye. */
  async disconnect(): Promise<void> {
    this.#send({ type: "disconnect" })
    const closed = once(this.#socket, "close")
    this.#socket.end()
    await closed
  }

  /** Goes without a word, as a device does that loses power. */
  vanish(): void {
    this.#socket.resetAndDestroy()
  }

  #take(packet: MqttPacket): void {
    if (packet.type === "pubrel") return this.#send({ type: "pubcomp", packetId: packet.packetId })
    if (packet.type !== "publish") return this.#answers.push(packet)
    const { qos = 0, packetId = 0 } = packet
    if (qos === 1) this.#send({ type: "puback", packetId })
    if (qos === 2) this.#send({ type: "pubrec", packetId })
    this.#messages.push(packet)
  }

  #end(error: Error): void {
    this.#messages.end(error)
    this.#answers.end(error)
  }

  async #answer(type: MqttPacket["type"], packetId: number): Promise<MqttPacket> {
    for (;;) {
      const packet = await this.#answers.next()
      if (packet.type === type && "packetId" in packet && packet.packetId === packetId) return packet
    }
  }

  #send(packet: MqttPacket): void {
    this.#socket.write(mqtt.encode(packet, { version: this.#version }))
  }

  #id(): number {
    const id = this.#nextId
    this.#nextId = (id % 65_535) + 1
    return id
  }
}

function reasonOf(packet: MqttPacket): number {
  return "reason" in packet ? (packet.reason ?? 0) : 0
}
