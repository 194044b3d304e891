/**
 * FakeNative: the whole native surface in TypeScript, without sockets. It keeps the
 * plan, delivers published messages to the API's subscribers through a real event
 * ring and lets a test ask the policy thread through a real decision ring.
 */

import { matches } from "./fake-match.ts"
import { FakePolicyPort } from "./fake-policy-port.ts"
import { writeEvent } from "./fake-ring.ts"
import { EVENT_KIND, LAYOUT_VERSION } from "./layout.ts"
import type { Applied, EndpointWeight, NativeGateway, NativeModule, NativeOptions, PolicyPort } from "./native.ts"
import type { Plan } from "./plan.ts"

/** One metric series as `scrape` describes it, with its present values. */
export interface FakeSeries {
  readonly metric: string
  readonly labels: Readonly<Record<string, string>>
  readonly kind: "counter" | "gauge" | "histogram"
  readonly buckets?: readonly number[]
  readonly values: readonly number[]
}

interface Subscription {
  readonly filter: string
  readonly qos: number
}

/** A native gateway that only remembers. */
export class FakeGateway implements NativeGateway {
  readonly id: number
  readonly options: NativeOptions
  plan: Plan | null = null
  weights: readonly EndpointWeight[] = []
  series: FakeSeries[] = []
  /** The next `applyPlan` rejects with this text. */
  failNextApply: string | null = null
  closed = 0
  drained: string | null = null
  policy: FakePolicyPort | null = null
  /** Client ids that have a session. */
  readonly clients = new Set<string>()
  readonly purges: string[] = []
  readonly retainedMessages = new Map<string, string>()
  readonly #subscriptions = new Map<number, Subscription>()
  #wake: () => void = () => {}
  #next = 1

  constructor(id: number, options: NativeOptions) {
    if (options.layoutVersion !== LAYOUT_VERSION) throw new Error("LAYOUT: another layout version")
    this.id = id
    this.options = options
  }

  async applyPlan(json: Buffer): Promise<string> {
    const failure = this.failNextApply
    this.failNextApply = null
    if (failure !== null) throw new Error(failure)
    const plan = JSON.parse(json.toString("utf8")) as Plan
    this.plan = plan
    const listeners = plan.listeners.map(({ name, address }, index) => {
      return { name, address: address.replace(/:0$/, `:${40_000 + index}`) }
    })
    const applied: Applied = { version: plan.version, listeners, problems: [] }
    return JSON.stringify(applied)
  }

  setWeights(json: string): void {
    this.weights = JSON.parse(json) as EndpointWeight[]
  }

  takeSpent = (): string => "{}"
  chargeLimits = (): void => undefined

  scrape(known: number): Buffer {
    const described = this.series.slice(known).map(({ values, ...series }) => series)
    const json = Buffer.from(JSON.stringify(described), "utf8")
    const head = Buffer.alloc(Math.ceil((4 + json.length) / 8) * 8)
    head.writeUInt32LE(json.length)
    json.copy(head, 4)
    const values = Float64Array.from(this.series.flatMap((series) => series.values))
    return Buffer.concat([head, Buffer.from(values.buffer)])
  }

  connections = async (): Promise<string> => '{"items":[],"nextCursor":null}'
  closeConnection = async (): Promise<boolean> => false

  purgeCache(which: string): number {
    this.purges.push(which)
    return 0
  }

  async mqttClients(): Promise<string> {
    const items = [...this.clients].map((clientId) => ({ clientId }))
    return JSON.stringify({ items, nextCursor: null })
  }

  async kickClient(clientId: string): Promise<boolean> {
    return this.clients.delete(clientId)
  }

  directory = async (): Promise<string> => '{"revision":0,"isWhole":false,"put":[],"removed":[]}'

  async retained(filter: string): Promise<string> {
    const items = [...this.retainedMessages].filter(([topic]) => matches(filter, topic))
    return JSON.stringify({ items: items.map(([topic, payload]) => ({ topic, payload })) })
  }

  async explain(query: string): Promise<string> {
    return JSON.stringify({
      route: null,
      target: null,
      endpoint: null,
      score: null,
      endpoints: [],
      candidates: [],
      policies: [],
      query: JSON.parse(query),
    })
  }

  upstreams(): string {
    const upstreams = this.plan?.upstreams ?? []
    const state = upstreams.map(({ name, endpoints }) => ({
      name,
      breaker: "closed",
      endpoints: endpoints.map(({ id, address, weight, health }) => {
        return { id, address, weight, health, active: 0, ejectedUntil: null }
      }),
    }))
    return JSON.stringify(state)
  }

  async publish(topic: string, payload: Buffer, optionsJson: string): Promise<string> {
    const options = JSON.parse(optionsJson) as { qos?: number; retain?: boolean }
    if (options.retain === true) this.retainedMessages.set(topic, payload.toString("utf8"))
    const receivers = [...this.#subscriptions].filter(([, { filter }]) => matches(filter, topic))
    for (const [id, { qos }] of receivers) {
      const head = { topic, qos: Math.min(qos, options.qos ?? 0), retain: false, bytes: payload.length }
      const text = JSON.stringify({ ...head, payload: payload.toString("base64") })
      this.emit({ kind: EVENT_KIND.message, a: id, text })
    }
    return receivers.length > 0 ? "success" : "no-subscribers"
  }

  subscribe(filter: string, qos: number): number {
    const id = this.#next++
    this.#subscriptions.set(id, { filter, qos })
    return id
  }

  /** What was asked to be shown last. */
  watches = "[]"

  trace(watchesJson: string): void {
    this.watches = watchesJson
  }

  unsubscribe(id: number): void {
    this.#subscriptions.delete(id)
  }

  onWake(callback: () => void): void {
    this.#wake = callback
  }

  async drain(optionsJson: string): Promise<void> {
    this.drained = optionsJson
  }

  async close(): Promise<void> {
    this.closed++
  }

  advanceClock(): void {}

  panicForTest(): void {
    throw new Error("PANIC: asked to")
  }

  /** Writes an event into the first worker's ring and wakes the reader. */
  emit(event: Parameters<typeof writeEvent>[1]): boolean {
    const [ring] = this.options.eventRings
    const written = ring !== undefined && writeEvent(ring, event)
    this.#wake()
    return written
  }
}

/** The module, and every gateway made through it. */
export class FakeNative implements NativeModule {
  readonly gateways: FakeGateway[] = []
  readonly NativeGateway: NativeModule["NativeGateway"]

  constructor() {
    const { gateways } = this
    this.NativeGateway = class extends FakeGateway {
      constructor(options: NativeOptions) {
        super(gateways.length + 1, options)
        gateways.push(this)
      }
    }
  }

  /** The gateway made last. */
  get gateway(): FakeGateway {
    const last = this.gateways.at(-1)
    if (last === undefined) throw new Error("no gateway was started")
    return last
  }

  attachPolicyThread(gatewayId: number, rings: readonly Uint8Array[], wake: () => void): PolicyPort {
    const port = new FakePolicyPort(rings, wake)
    const gateway = this.gateways.find(({ id }) => id === gatewayId)
    if (gateway !== undefined) gateway.policy = port
    return port
  }

  async createDevAuthority(name: string): Promise<string> {
    return JSON.stringify({ cert: `authority ${name}`, key: "key" })
  }

  async createDevCertificate(_cert: string, _key: string, names: string[]): Promise<string> {
    return JSON.stringify({ cert: `certificate ${names.join(" ")}`, key: "key" })
  }

  async hashPassword(password: string): Promise<string> {
    return `$argon2id$v=19$m=8,t=1,p=1$fake$${Buffer.from(password).toString("base64")}`
  }
}
