/**
 * From event records to the listeners of a gateway: drains the rings in bounded
 * turns and makes objects only for kinds that somebody listens to.
 */
import type { GatewayEvent, GatewayEventType } from "../model/gateway-event.ts"
import type { ReceivedMessage } from "../model/message.ts"
import type { MqttTraceLine } from "../model/mqtt-trace.ts"
import { createEventRing, EVENT_KIND, type EventRecord, EventRingReader, NONE, type Plan } from "../native/index.ts"
import { Traces } from "./traces.ts"

export type Listener<T extends GatewayEventType> = (event: Extract<GatewayEvent, { type: T }>) => void
type AnyListener = (event: GatewayEvent) => void

/** Records of one turn before the event loop gets its own back; or 1 ms, whatever is first. */
const TURN_RECORDS = 4_096
const TURN_MS = 1
const STEP = 64

const KINDS: Readonly<Partial<Record<GatewayEventType, readonly number[]>>> = {
  access: [EVENT_KIND.access],
  "connection-opened": [EVENT_KIND.connectionOpened],
  "connection-closed": [EVENT_KIND.connectionClosed],
  endpoint: [EVENT_KIND.endpoint],
  log: [EVENT_KIND.log],
}

/** Names that the indexes of access records stand for. */
interface IndexNames {
  readonly routes: readonly string[]
  readonly upstreams: readonly string[]
}

export class EventHub {
  readonly memory: readonly Uint8Array[]
  readonly #rings: readonly EventRingReader[]
  readonly #listeners = new Map<GatewayEventType, Set<AnyListener>>()
  readonly traces = new Traces()
  /** Called after changes in the resource directory, once or more for several. */
  directoryChanged: () => void = () => {}
  readonly #subscribers = new Map<number, (message: ReceivedMessage) => void>()
  #names: IndexNames = { routes: [], upstreams: [] }
  #spans: ((text: string) => void) | null = null
  #scheduled = false

  constructor(workers: number) {
    this.memory = Array.from({ length: workers }, () => createEventRing())
    this.#rings = this.memory.map((bytes) => new EventRingReader(bytes))
    this.#want()
  }

  /** Events lost because this side was too slow. */
  get dropped(): number {
    return this.#rings.reduce((sum, ring) => sum + ring.dropped, 0)
  }

  /** Takes over the names of a plan, for the indexes in access records. */
  useNames({ routes, upstreams }: Pick<Plan, "routes" | "upstreams">): void {
    this.#names = { routes: routes.map(({ name }) => name), upstreams: upstreams.map(({ name }) => name) }
  }

  on<T extends GatewayEventType>(type: T, listener: Listener<T>): () => void {
    const set = this.#listeners.get(type) ?? new Set()
    set.add(listener as AnyListener)
    this.#listeners.set(type, set)
    this.#want()
    return () => {
      set.delete(listener as AnyListener)
      this.#want()
    }
  }

  /** Who takes spans, as JSON; null: nobody, and none are published. */
  traceTo(take: ((text: string) => void) | null): void {
    this.#spans = take
    this.#want()
  }

  /** Reads all that there is, without a turn of the event loop: native is gone. */
  flush(): void {
    for (const ring of this.#rings) while (ring.drain(TURN_RECORDS, (record) => this.#dispatch(record)));
  }

  subscribe(id: number, listener: (message: ReceivedMessage) => void): void {
    this.#subscribers.set(id, listener)
  }

  unsubscribe(id: number): void {
    this.#subscribers.delete(id)
  }

  emit(event: GatewayEvent): void {
    for (const listener of this.#listeners.get(event.type) ?? []) listener(event)
  }

  /** Native's wake-up: one per batch. */
  wake(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => this.#turn())
  }

  #turn(): void {
    this.#scheduled = false
    const until = performance.now() + TURN_MS
    let more = true
    for (let read = 0; more && read < TURN_RECORDS && performance.now() < until; read += STEP) {
      more = this.#rings.map((ring) => ring.drain(STEP, (record) => this.#dispatch(record))).some(Boolean)
    }
    if (more) this.wake()
  }

  #dispatch(record: EventRecord): void {
    if (record.kind === EVENT_KIND.message) return this.#deliver(record)
    if (record.kind === EVENT_KIND.span) return this.#spans?.(record.text)
    if (record.kind === EVENT_KIND.directory) return this.directoryChanged()
    const event = this.#toEvent(record)
    if (event !== null) this.emit(event)
  }

  #deliver({ a, text, time }: EventRecord): void {
    if (a === 0) {
      return this.traces.deliver({ time, ...(JSON.parse(text) as Omit<MqttTraceLine, "time">) })
    }
    const listener = this.#subscribers.get(a)
    if (listener === undefined) return
    const { topic, qos, retain, payload } = JSON.parse(text) as Omit<ReceivedMessage, "payload"> & { payload: string }
    listener({ topic, qos, retain, payload: Buffer.from(payload, "base64") })
  }

  #toEvent({ kind, a, b, c, d, time, text }: EventRecord): GatewayEvent | null {
    switch (kind) {
      case EVENT_KIND.access: {
        const route = a === NONE ? null : (this.#names.routes[a] ?? null)
        const upstream = c === NONE ? null : (this.#names.upstreams[c] ?? null)
        return { type: "access", time, route, upstream, status: b, durationUs: d, text }
      }
      case EVENT_KIND.connectionOpened:
        return { type: "connection-opened", time, text }
      case EVENT_KIND.connectionClosed:
        return { type: "connection-closed", time, text }
      case EVENT_KIND.endpoint:
        return { type: "endpoint", time, text }
      case EVENT_KIND.log:
        return { type: "log", time, level: a, text }
      default:
        return null
    }
  }

  /** Messages and the directory always; the other kinds while somebody takes them. */
  #want(): void {
    const listened = [...this.#listeners].filter(([, set]) => set.size > 0).flatMap(([type]) => KINDS[type] ?? [])
    const spans = this.#spans === null ? [] : [EVENT_KIND.span]
    for (const ring of this.#rings) ring.want([EVENT_KIND.message, EVENT_KIND.directory, ...spans, ...listened])
  }
}
