/**
 * A client that keeps every rule and may lose its connection at any moment: QoS 2 both ways, what is
 * under way sent again when its session is still there (MQTT-4.4.0-1), forgotten when it is not.
 */
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IPublishPacket,
  type Packet,
  parser,
} from "mqtt-packet"
import type { Ledger, Life, Qos, Sent } from "./ledger.ts"

/** What was sent and is not done: a PUBLISH, or from PUBREC on its PUBREL. */
interface UnderWay {
  readonly sent: Sent
  released: boolean
}

export interface Nature {
  readonly version: 4 | 5
  /** Seconds that its session outlives a connection; 0: none. */
  readonly expiry: number
}

export class Device {
  readonly name: string
  readonly nature: Nature
  life: Life | null = null
  readonly #ledger: Ledger
  readonly #port: number
  #socket: Socket | null = null
  #underWay = new Map<number, UnderWay>()
  /** QoS 2 that came and is not released. */
  #held = new Set<number>()
  #waits = new Map<string, (packet: Packet) => void>()
  #nextId = 1
  #sequence = 0
  #leftAt = 0
  /** Whether the session of this connection outlives it. */
  #isKept = false
  /** What the server did against its rules. */
  readonly faults: string[] = []

  constructor(name: string, nature: Nature, { ledger, port }: { readonly ledger: Ledger; readonly port: number }) {
    this.name = name
    this.nature = nature
    this.#ledger = ledger
    this.#port = port
  }

  get isConnected(): boolean {
    return this.#socket !== null
  }

  get open(): number {
    return this.#underWay.size
  }

  async connect(clean: boolean): Promise<void> {
    const socket = connect(this.#port, "127.0.0.1")
    socket.on("error", () => {})
    await once(socket, "connect")
    socket.setNoDelay(true)
    this.#socket = socket
    const { version, expiry } = this.nature
    const isClean = clean || (version === 4 && expiry === 0)
    const reader = parser({ protocolVersion: version })
    reader.on("packet", (packet) => this.#socket === socket && this.#take(packet))
    socket.on("data", (data) => this.#socket === socket && reader.parse(data))
    socket.on("close", () => this.#socket === socket && this.drop())
    const connack = this.#answer("connack")
    this.#send({
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: version,
      clean: isClean,
      clientId: this.name,
      keepalive: 60,
      ...(version === 5 && { properties: { sessionExpiryInterval: expiry } }),
    } as IConnectPacket)
    this.#resume(isClean, (await connack) as IConnackPacket)
    this.#isKept = version === 4 ? !isClean : expiry > 0
  }

  #resume(clean: boolean, { sessionPresent, reasonCode, returnCode }: IConnackPacket): void {
    if ((reasonCode ?? returnCode ?? 0) !== 0) this.faults.push(`${this.name} was refused: ${reasonCode ?? returnCode}`)
    const { expiry } = this.nature
    const away = (Date.now() - this.#leftAt) / 1_000
    const isGone = this.life === null || clean || away > expiry + 2
    if (sessionPresent && isGone) this.faults.push(`${this.name} has a session that should have ended`)
    if (!sessionPresent && !isGone && away < expiry - 0.2)
      this.faults.push(`${this.name} lost its session after ${away} s of ${expiry}`)
    if (sessionPresent) {
      for (const [id, { sent, released }] of this.#underWay) {
        this.#send(released ? { cmd: "pubrel", messageId: id } : this.#publishPacket(id, sent, true))
      }
      return
    }
    this.end()
    this.life = this.#ledger.begin(this.name)
    this.life.rounds[this.#ledger.round] = new Map()
  }

  /** Its session is over, as far as it knows. */
  end(): void {
    if (this.life !== null) this.life.ended ??= this.#ledger.round
    this.life = null
    this.#underWay.clear()
    this.#held.clear()
  }

  /** Loses its connection, whatever is under way. */
  drop(): void {
    this.#socket?.destroy()
    this.#socket = null
    this.#leftAt = Date.now()
    this.#waits.clear()
    if (!this.#isKept) this.end()
  }

  async subscribe(filter: string, qos: Qos): Promise<void> {
    const suback = this.#answer("suback")
    this.#send({ cmd: "subscribe", messageId: this.#id(), subscriptions: [{ topic: filter, qos }] } as Packet)
    await suback
    this.life?.rounds[this.#ledger.round]?.set(filter, qos)
  }

  async unsubscribe(filter: string): Promise<void> {
    const unsuback = this.#answer("unsuback")
    this.#send({ cmd: "unsubscribe", messageId: this.#id(), unsubscriptions: [filter] } as Packet)
    await unsuback
    this.life?.rounds[this.#ledger.round]?.delete(filter)
  }

  publish(topic: string, qos: Qos): void {
    const sequence = this.#sequence++
    const name = `${this.name}:${sequence}`
    const { round } = this.#ledger
    const sent: Sent = { name, publisher: this.name, sequence, topic, qos, from: round, until: null }
    this.#ledger.sent.set(name, sent)
    const id = qos === 0 ? 0 : this.#id()
    if (qos > 0) this.#underWay.set(id, { sent, released: false })
    this.#send(this.#publishPacket(id, sent, false))
  }

  /** Answers to everything that came before. */
  async settle(): Promise<void> {
    const pong = this.#answer("pingresp")
    this.#send({ cmd: "pingreq" })
    await pong
  }

  #publishPacket(id: number, { topic, name, qos }: Sent, dup: boolean): IPublishPacket {
    return { cmd: "publish", topic, payload: name, qos, messageId: id, dup, retain: false } as IPublishPacket
  }

  #id(): number {
    do this.#nextId = (this.#nextId % 60_000) + 1
    while (this.#underWay.has(this.#nextId))
    return this.#nextId
  }

  /** The next packet of a kind. */
  async #answer(cmd: Packet["cmd"]): Promise<Packet> {
    const came = new Promise<Packet>((resolve) => this.#waits.set(cmd, resolve))
    const late = sleep(10_000, undefined, { ref: false }).then(() => {
      throw new Error(`${this.name} waits for ${cmd}`)
    })
    return Promise.race([came, late])
  }

  #send(packet: Packet | object): void {
    this.#socket?.write(generate(packet as Packet, { protocolVersion: this.nature.version }))
  }

  #take(packet: Packet): void {
    const { cmd } = packet
    const id = (packet as { messageId?: number }).messageId ?? 0
    const refused = ((packet as { reasonCode?: number }).reasonCode ?? 0) >= 0x80
    switch (cmd) {
      case "publish":
        return this.#receive(packet, id)
      case "pubrel":
        this.#held.delete(id)
        return this.#send({ cmd: "pubcomp", messageId: id })
      case "pubrec": {
        const open = this.#underWay.get(id)
        if (refused) this.#underWay.delete(id)
        else if (open !== undefined) open.released = true
        return refused ? undefined : this.#send({ cmd: "pubrel", messageId: id })
      }
      case "puback":
      case "pubcomp": {
        const open = this.#underWay.get(id)
        if (open !== undefined && !refused) open.sent.until = this.#ledger.round
        this.#underWay.delete(id)
        return
      }
      default:
        this.#waits.get(cmd)?.(packet)
        this.#waits.delete(cmd)
    }
  }

  #receive({ qos, payload }: IPublishPacket, id: number): void {
    // MQTT-4.3.3-10: what is held came already.
    if (qos === 2 && this.#held.has(id)) return this.#send({ cmd: "pubrec", messageId: id })
    this.life?.came.push(String(payload))
    if (qos === 1) this.#send({ cmd: "puback", messageId: id })
    if (qos === 2) {
      this.#held.add(id)
      this.#send({ cmd: "pubrec", messageId: id })
    }
  }
}
