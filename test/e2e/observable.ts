/** A server of CoAP whose resources are observed, and a client that observes: plain datagrams, so that each is seen. */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { generate, type ParsedPacket, parse } from "coap-packet"

type Option = { name: string; value: Buffer }

/** The block of the server, bytes, as an exponent above 4. */
const SZX = 2
const SIZE = 16 << SZX

const path = (packet: ParsedPacket): string =>
  packet.options
    .filter(({ name }) => name === "Uri-Path")
    .map(({ value }) => value)
    .join("/")

const option = (packet: ParsedPacket, name: string): Buffer | undefined =>
  packet.options.find((own) => own.name === name)?.value

const uint = (value: number): Buffer => Buffer.from([value >> 16, (value >> 8) & 255, value & 255])

interface Resource {
  state: string
  sequence: number
  registrations: number
  observer: { port: number; token: Buffer } | undefined
}

/** A server. */
export interface Observable {
  readonly name: string
  readonly address: string
  registrations(path: string): number
  observers(path: string): number
  change(path: string, state: string, how?: { silent?: boolean }): void
  fail(path: string, code: string): void
  close(): void
}

/** Starts a server on a free port. */
export async function observable(name: string): Promise<Observable> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1")
  await once(socket, "listening")
  const resources = new Map<string, Resource>()
  const named = (where: string): Resource => {
    const known = resources.get(where) ?? { state: `${name} 0`, sequence: 1, registrations: 0, observer: undefined }
    resources.set(where, known)
    return known
  }
  let messageId = 1
  let isClosed = false
  const send = (packet: object, port: number): void => {
    if (!isClosed) socket.send(generate(packet), port, "127.0.0.1")
  }
  /** One block of a state. */
  const content = (resource: Resource, number: number): { options: Option[]; payload: Buffer } => {
    const whole = Buffer.from(resource.state)
    const options: Option[] = [
      { name: "ETag", value: uint(resource.sequence) },
      { name: "Max-Age", value: Buffer.from([1]) },
    ]
    const more = whole.length > (number + 1) * SIZE
    if (number > 0 || more) options.push({ name: "Block2", value: uint((number << 4) | (more ? 8 : 0) | SZX) })
    return { options, payload: whole.subarray(number * SIZE, (number + 1) * SIZE) }
  }
  socket.on("message", (data, { port }) => {
    const request = parse(data)
    if (request.reset) {
      for (const resource of resources.values()) resource.observer = undefined
      return
    }
    if (request.ack) return
    if (request.code === "0.00") return send({ reset: true, messageId: request.messageId, code: "0.00" }, port)
    const resource = named(path(request))
    const observe = option(request, "Observe")
    const isObserver = observe !== undefined && observe.length === 0
    if (isObserver) {
      resource.registrations += 1
      resource.observer = { port, token: request.token }
    } else if (observe !== undefined) resource.observer = undefined
    const block = option(request, "Block2")
    const number = block === undefined || block.length === 0 ? 0 : block.readUIntBE(0, block.length) >> 4
    const { options, payload } = content(resource, number)
    if (isObserver) options.push({ name: "Observe", value: uint(resource.sequence) })
    send({ ack: true, messageId: request.messageId, token: request.token, code: "2.05", options, payload }, port)
  })
  const notify = (resource: Resource, packet: object): void => {
    if (resource.observer === undefined) return
    messageId += 1
    const { port, token } = resource.observer
    send({ confirmable: true, messageId, token, ...packet }, port)
  }
  return {
    name,
    address: `127.0.0.1:${(socket.address() as AddressInfo).port}`,
    registrations: (where) => named(where).registrations,
    observers: (where) => (named(where).observer === undefined ? 0 : 1),
    change: (where, state, how) => {
      const resource = named(where)
      resource.state = state
      resource.sequence += 1
      const { options, payload } = content(resource, 0)
      options.push({ name: "Observe", value: uint(resource.sequence) })
      if (how?.silent !== true) notify(resource, { code: "2.05", options, payload })
    },
    fail: (where, code) => notify(named(where), { code }),
    close: () => {
      if (!isClosed) socket.close()
      isClosed = true
    },
  }
}

/** A port that nothing listens on. */
export async function freeUdpPort(): Promise<number> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1")
  await once(socket, "listening")
  const { port } = socket.address() as AddressInfo
  socket.close()
  return port
}

/** An observer. */
export class Watcher {
  readonly states: string[] = []
  readonly codes: string[] = []
  isObserving = false
  #answers = true
  #messageId = Math.trunc(Math.random() * 60_000)
  #collected = ""

  private constructor(
    private readonly socket: Socket,
    private readonly port: number,
    private readonly path: string,
  ) {
    socket.on("message", (data) => this.#take(parse(data)))
  }

  /** Registers, and waits for the answer. */
  static async begin(port: number, where: string): Promise<Watcher> {
    const socket = createSocket("udp4").bind(0, "127.0.0.1")
    socket.unref()
    await once(socket, "listening")
    const watcher = new Watcher(socket, port, where)
    watcher.#ask([{ name: "Observe", value: Buffer.alloc(0) }])
    while (watcher.codes.length === 0) await once(socket, "message")
    return watcher
  }

  deregister(): void {
    this.#ask([{ name: "Observe", value: Buffer.from([1]) }])
  }

  /** Knows nothing of it any more. */
  forget(): void {
    this.#answers = false
  }

  #ask(options: Option[]): void {
    this.#messageId += 1
    const names = this.path.slice(1).split("/")
    const all = [...names.map((name) => ({ name: "Uri-Path" as const, value: Buffer.from(name) })), ...options]
    const request = { confirmable: true, messageId: this.#messageId, token: Buffer.from("w"), code: "0.01" as const }
    this.socket.send(generate({ ...request, options: all }), this.port, "127.0.0.1")
  }

  #take(packet: ParsedPacket): void {
    if (packet.code === "0.00") return
    const { confirmable, messageId } = packet
    if (!this.#answers) {
      this.socket.send(generate({ reset: true, messageId, code: "0.00" }), this.port, "127.0.0.1")
      return
    }
    if (confirmable) this.socket.send(generate({ ack: true, messageId, code: "0.00" }), this.port, "127.0.0.1")
    if (option(packet, "Observe") !== undefined) this.isObserving = true
    const block = option(packet, "Block2")
    const value = block === undefined || block.length === 0 ? 0 : block.readUIntBE(0, block.length)
    if (value >> 4 === 0) this.#collected = ""
    this.#collected += packet.payload.toString()
    if ((value & 8) !== 0) {
      const next = (((value >> 4) + 1) << 4) | (value & 7)
      return this.#ask([{ name: "Block2", value: uint(next) }])
    }
    this.codes.push(packet.code)
    if (packet.code === "2.05") this.states.push(this.#collected)
  }
}
