/**
 * A whole gateway for a test: the real data plane on free loopback ports, one worker, nothing on disk, a clock
 * that can be set ahead, and fake devices of each protocol. Everything is closed with it.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { type ConfigInput, loadData } from "../config/index.ts"
import { createLoadedGateway, type Gateway, type GatewayOptions } from "../gateway/index.ts"
import type { PublishOptions } from "../model/message.ts"
import type { Functions } from "../policy/index.ts"
import { CoapDevice } from "./coap-device.ts"
import { MqttDevice, type MqttDeviceOptions } from "./mqtt-device.ts"
import { type RecordedMessage, type Recording, record } from "./recording.ts"
import { WebSocketDevice, type WebSocketOptions } from "./websocket-device.ts"

/** A worker looks at what is due this often; two turns, and it has. */
const TURNS_MS = 250

/** So long a policy has at least: a test's process may be busy for longer than a gateway's ever is. */
const PATIENCE_MS = 1_000

export class TestGateway implements AsyncDisposable {
  readonly gateway: Gateway
  readonly #clock: { aheadMs: number }
  readonly #devices: (() => void)[] = []

  private constructor(gateway: Gateway, clock: { aheadMs: number }) {
    this.gateway = gateway
    this.#clock = clock
  }

  /** Throws CONFIG_INVALID with every problem, or NATIVE_MISSING. */
  static async start(config: ConfigInput, options: GatewayOptions): Promise<TestGateway> {
    const clock = { aheadMs: 0 }
    const own: ConfigInput = {
      workers: 1,
      dataDir: false,
      admin: false,
      listeners: [
        { address: "tcp://127.0.0.1:0", protocols: "detect" },
        { address: "udp://127.0.0.1:0", protocols: ["coap"] },
      ],
    }
    const loaded = loadData({ ...own, ...config })
    const gateway = createLoadedGateway(
      { ...loaded, functions: patient(loaded.functions) },
      { now: () => Date.now() + clock.aheadMs, ...options },
    )
    return new TestGateway(await gateway.start(), clock)
  }

  /** Port of the first TCP listener. */
  get port(): number {
    return this.#port("tcp")
  }

  /** Port of the first UDP listener. */
  get udpPort(): number {
    return this.#port("udp")
  }

  /** A request to the gateway, `fetch` with a path. */
  http(path: string, init?: RequestInit): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.port}${path}`, init)
  }

  async mqtt(options: MqttDeviceOptions | string): Promise<MqttDevice> {
    const given = typeof options === "string" ? { clientId: options } : options
    const device = await MqttDevice.open(this.port, given)
    this.#devices.push(() => device.vanish())
    return device
  }

  async coap(): Promise<CoapDevice> {
    const device = await CoapDevice.open(this.udpPort)
    this.#devices.push(() => device.close())
    return device
  }

  async websocket(path: string, options?: WebSocketOptions): Promise<WebSocketDevice> {
    const device = await WebSocketDevice.open(this.port, path, options)
    this.#devices.push(() => device.close())
    return device
  }

  /** Publishes as if a client had; resolves to the outcome's name. */
  inject(message: { readonly topic: string; readonly payload: string | Uint8Array } & PublishOptions): Promise<string> {
    return this.gateway.inject(message)
  }

  /** Sets the clock ahead and lets happen what is due: expiry, time-outs, keep-alive, delayed publishes. */
  async advance(ms: number): Promise<void> {
    this.#clock.aheadMs += ms
    this.gateway.native.advanceClock(ms)
    this.gateway.registry.sweep()
    await sleep(TURNS_MS)
  }

  record(filter: string): Recording {
    return record(this.gateway, filter)
  }

  /** Publishes what was recorded, in its order; with `speed` 1 as slowly as it came, by default at once. */
  async replay(messages: readonly RecordedMessage[], { speed = Number.POSITIVE_INFINITY } = {}): Promise<void> {
    const began = performance.now()
    for (const { atMs, topic, payload, qos, retain } of messages) {
      const wait = atMs / speed - (performance.now() - began)
      if (wait > 1) await sleep(wait)
      await this.inject({ topic, payload: Buffer.from(payload, "base64"), qos, retain })
    }
  }

  async close(): Promise<void> {
    for (const close of this.#devices.splice(0)) close()
    await this.gateway.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #port(transport: "tcp" | "udp"): number {
    const { listeners } = this.gateway.stats()
    const found = listeners.find(({ name }) => name.startsWith(transport))
    return Number(found?.address.split(":").at(-1) ?? 0)
  }
}

/** Policies and balancers that are not given up because the machine is busy. */
function patient({ policies, balancers, ...rest }: Functions): Functions {
  const wait = <D extends { readonly deadlineMs?: number }>(definitions: ReadonlyMap<string, D>): Map<string, D> =>
    new Map(
      [...definitions].map(([name, definition]) => {
        return [name, { ...definition, deadlineMs: Math.max(definition.deadlineMs ?? 0, PATIENCE_MS) }]
      }),
    )
  return { ...rest, policies: wait(policies), balancers: wait(balancers) }
}
