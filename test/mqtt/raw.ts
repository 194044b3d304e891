/**
 * A client that says exactly what a test wants it to say: packets by a foreign codec
 * (mqtt-packet), or bytes as they are. And a gateway in this process to say it to.
 */
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import type { ExecutionContext } from "ava"
import { generate, type IConnectPacket, type Packet, type Parser, parser } from "mqtt-packet"
import { createGateway, type Gateway } from "../../src/index.ts"
import { Scraper } from "../../src/metrics/index.ts"

/** A version of the protocol, as its CONNECT names it. */
export type Version = 3 | 4 | 5

export interface Target {
  readonly gateway: Gateway
  readonly port: number
}

/** A gateway on a free port, closed when the test ends; nothing on disk unless the config says so. */
export async function start(t: ExecutionContext<unknown>, config: object = {}): Promise<Target> {
  const gateway = await createGateway({
    workers: 2,
    admin: false,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
    ...config,
  })
  await gateway.start()
  t.teardown(() => gateway.close())
  return { gateway, port: portOf(gateway) }
}

/** The port of a gateway's first listener. */
export const portOf = (gateway: Gateway): number =>
  Number(new URL(`tcp://${gateway.stats().listeners[0]?.address}`).port)

/** What a metric says, its series with these labels added up. */
export function counted({ gateway }: Target, metric: string, labels: Readonly<Record<string, string>> = {}): number {
  const fits = Object.entries(labels)
  const series = new Scraper(gateway.native).scrape().filter((sample) => sample.metric === metric)
  return series
    .filter((sample) => fits.every(([name, value]) => sample.labels[name] === value))
    .reduce((sum, { values }) => sum + (values[0] ?? 0), 0)
}

/** Sessions as the admin API has them. */
export interface SessionRow {
  readonly clientId: string
  readonly queued: number
  readonly dropped: number
  readonly inflight: number
}

export async function sessions({ gateway }: Target): Promise<readonly SessionRow[]> {
  return (JSON.parse(await gateway.native.mqttClients("{}")) as { items: SessionRow[] }).items
}

/** What comes from the server, in order. */
export class RawClient {
  readonly #socket: Socket
  readonly #packets: Packet[] = []
  readonly #parser: Parser
  readonly #version: Version
  #closed = false
  #news: () => void = () => {}

  private constructor(socket: Socket, version: Version) {
    this.#socket = socket
    this.#version = version
    this.#parser = parser({ protocolVersion: version })
    this.#parser.on("packet", (packet) => this.#packets.push(packet))
    socket.setNoDelay(true)
    socket.on("data", (data) => {
      this.#parser.parse(data)
      this.#news()
    })
    socket.on("error", () => {})
    socket.on("close", () => {
      this.#closed = true
      this.#news()
    })
  }

  /** The broker's end of a connection that a gateway opened. */
  static over(socket: Socket, version: Version = 5): RawClient {
    return new RawClient(socket, version)
  }

  /** A connection that has said nothing yet. */
  static async open({ port }: { readonly port: number }, version: Version = 5): Promise<RawClient> {
    const socket = connect(port, "127.0.0.1")
    await once(socket, "connect")
    return new RawClient(socket, version)
  }

  /** A connection whose CONNECT was sent; what the server said to it. */
  static async connect(
    target: { readonly port: number },
    options: Partial<IConnectPacket> = {},
  ): Promise<{ readonly client: RawClient; readonly connack: Packet | null }> {
    const version = (options.protocolVersion ?? 5) as Version
    const client = await RawClient.open(target, version)
    client.send({
      cmd: "connect",
      protocolId: version === 3 ? "MQIsdp" : "MQTT",
      protocolVersion: version,
      clean: true,
      clientId: `raw-${Math.random().toString(36).slice(2)}`,
      keepalive: 60,
      ...options,
    } as IConnectPacket)
    return { client, connack: await client.next() }
  }

  /** Sends a packet. */
  send(packet: object): void {
    this.#socket.write(generate(packet as Packet, { protocolVersion: this.#version }))
  }

  /** Sends bytes as they are; a string is hexadecimal, spaces are for the reader. */
  sendBytes(bytes: string | Uint8Array): void {
    this.#socket.write(typeof bytes === "string" ? Buffer.from(bytes.replace(/\s/g, ""), "hex") : bytes)
  }

  /** The next packet; null: the server closed first, or nothing came for `ms`. */
  async next(ms = 3_000): Promise<Packet | null> {
    const end = Date.now() + ms
    while (this.#packets.length === 0 && !this.#closed && Date.now() < end) await this.#wait(end - Date.now())
    return this.#packets.shift() ?? null
  }

  /** The next packet of a kind; what comes before it is passed over. */
  async expect<Cmd extends Packet["cmd"]>(cmd: Cmd, ms = 3_000): Promise<Extract<Packet, { cmd: Cmd }>> {
    for (const end = Date.now() + ms; ; ) {
      const packet = await this.next(Math.max(1, end - Date.now()))
      if (packet?.cmd === cmd) return packet as Extract<Packet, { cmd: Cmd }>
      if (packet === null) throw new Error(`no ${cmd} came${this.#closed ? ", the server closed" : ""}`)
    }
  }

  /** Everything that comes until the server answers a ping. */
  async settle(): Promise<Packet[]> {
    await sleep(30)
    this.send({ cmd: "pingreq" })
    const packets: Packet[] = []
    for (;;) {
      const packet = await this.next()
      if (packet === null || packet.cmd === "pingresp") return packets
      packets.push(packet)
    }
  }

  /** Whether the server closes within `ms`; `code`: of the DISCONNECT or CONNACK before it. */
  async closed(ms = 3_000): Promise<{ readonly closed: boolean; readonly code: number | undefined }> {
    let code: number | undefined
    for (const end = Date.now() + ms; Date.now() < end; ) {
      const packet = await this.next(end - Date.now())
      if (packet === null) break
      if (packet.cmd === "disconnect") code = packet.reasonCode
      if (packet.cmd === "connack") code = packet.reasonCode ?? packet.returnCode
    }
    return { closed: this.#closed, code }
  }

  /** Ends the connection without a word. */
  drop(): void {
    this.#socket.destroy()
  }

  /** Reads nothing any more, so that the server's socket fills. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  async #wait(ms: number): Promise<void> {
    const timer = new AbortController()
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#news = resolve
      }),
      sleep(ms, undefined, { signal: timer.signal }).catch(() => {}),
    ])
    timer.abort()
  }
}
