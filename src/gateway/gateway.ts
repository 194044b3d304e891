/**
 * A gateway's life: created, started, changed, drained, closed. It owns the native
 * data plane, the registry, the checks and the thread of the policies; everything else
 * asks it. See docs/lifecycle.md.
 */
import { DataDir, type LoadedConfig, loadData } from "../config/index.ts"
import { messageOf } from "../errors.ts"
import type { GatewayEventType } from "../model/gateway-event.ts"
import type { PublishOptions, ReceivedMessage } from "../model/message.ts"
import {
  type BoundListener,
  LAYOUT_VERSION,
  loadNative,
  type NativeGateway,
  type NativeModule,
  type Plan,
} from "../native/index.ts"
import { ServiceRegistry } from "../registry/index.ts"
import { Applier, wrongState } from "./applier.ts"
import { type EndpointChange, Endpoints } from "./endpoints.ts"
import { EventHub, type Listener } from "./event-hub.ts"
import { type CreatePolicyHost, inlinePolicyHost, type PolicyHost } from "./policy-host.ts"

export interface GatewayOptions {
  /** Default: the addon. Tests give a `FakeNative`. */
  readonly native?: NativeModule
  /** Default: policies run in the calling thread. */
  readonly policyHost?: CreatePolicyHost
}

export type GatewayState = "created" | "running" | "draining" | "closed"

export interface GatewayStats {
  readonly state: GatewayState
  readonly version: number
  readonly listeners: readonly BoundListener[]
  readonly applies: Readonly<Record<"applied" | "refused", number>>
  readonly eventsDropped: number
}

/** Between looks at endpoints whose name may have other addresses, and at instances that may have expired. */
const RESOLVE_MS = 30_000
const SWEEP_MS = 1_000

interface Running {
  readonly native: NativeGateway
  readonly registry: ServiceRegistry
  readonly endpoints: Endpoints
  readonly host: PolicyHost
  readonly applier: Applier
  readonly dataDir: DataDir | null
  readonly timers: readonly NodeJS.Timeout[]
}

export class Gateway implements AsyncDisposable {
  readonly #options: GatewayOptions
  readonly #hub: EventHub
  #loaded: LoadedConfig
  #running: Running | null = null
  #state: GatewayState = "created"
  #plan: Plan | null = null
  #listeners: readonly BoundListener[] = []
  #applies = { applied: 0, refused: 0 }
  #reapply: Promise<void> | null = null

  constructor(loaded: LoadedConfig, options: GatewayOptions) {
    this.#loaded = loaded
    this.#options = options
    this.#hub = new EventHub(loaded.config.workers)
  }

  get state(): GatewayState {
    return this.#state
  }

  /** The configuration that is in force. */
  get loaded(): LoadedConfig {
    return this.#loaded
  }

  /** The plan that is in force, or null before the start. */
  get plan(): Plan | null {
    return this.#plan
  }

  /** The native data plane; throws GATEWAY_STATE unless the gateway runs. */
  get native(): NativeGateway {
    return this.#require("native").native
  }

  get registry(): ServiceRegistry {
    return this.#require("registry").registry
  }

  get endpoints(): Endpoints {
    return this.#require("endpoints").endpoints
  }

  /** Null where nothing is kept on disk. */
  get dataDir(): DataDir | null {
    return this.#require("dataDir").dataDir
  }

  /** Binds every listener and serves. Throws PORT_IN_USE and the like, and is closed then. */
  async start(): Promise<this> {
    if (this.#state !== "created") throw wrongState("start", this.#state)
    this.#running = this.#create()
    this.#state = "running"
    try {
      await this.#apply(this.#loaded)
      return this
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Another configuration, as a value or loaded. A bad one changes nothing and throws with every problem. */
  async reload(config: unknown): Promise<void> {
    this.#require("reload")
    await this.#apply(isLoaded(config) ? config : loadData(config))
  }

  /** Stops accepting, says goodbye, waits for what is under way; bounded by `drain.timeoutMs`. */
  async drain(): Promise<void> {
    const { native } = this.#require("drain")
    this.#state = "draining"
    await native.drain(JSON.stringify(this.#loaded.config.drain))
  }

  /** Ends everything and joins the native threads; may be called again. */
  async close(): Promise<void> {
    const running = this.#running
    this.#state = "closed"
    this.#running = null
    if (running === null) return
    for (const timer of running.timers) clearInterval(timer)
    running.endpoints.close()
    await running.host.close()
    await running.native.close()
    running.registry.close()
    running.dataDir?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  stats(): GatewayStats {
    return {
      state: this.#state,
      version: this.#plan?.version ?? 0,
      listeners: this.#listeners,
      applies: { ...this.#applies },
      eventsDropped: this.#hub.dropped,
    }
  }

  /** Publishes as if a client had; resolves to the outcome's name, `success` or why not. */
  async publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<string> {
    const bytes = typeof payload === "string" ? Buffer.from(payload) : Buffer.from(payload)
    return this.#require("publish").native.publish(topic, bytes, JSON.stringify(options))
  }

  /** `publish` with everything in one object. */
  inject(message: { readonly topic: string; readonly payload: string | Uint8Array } & PublishOptions): Promise<string> {
    const { topic, payload, ...options } = message
    return this.publish(topic, payload, options)
  }

  /** Calls back for every message whose topic matches; retained ones first. Returns the way out. */
  subscribe(
    filter: string,
    listener: (message: ReceivedMessage) => void,
    { qos = 0 }: { qos?: 0 | 1 | 2 } = {},
  ): () => void {
    const { native } = this.#require("subscribe")
    const id = native.subscribe(filter, qos)
    this.#hub.subscribe(id, listener)
    return () => {
      this.#hub.unsubscribe(id)
      if (this.#running !== null) native.unsubscribe(id)
    }
  }

  /** Listens to events; may be called before the start. Returns the way out. */
  on<T extends GatewayEventType>(type: T, listener: Listener<T>): () => void {
    return this.#hub.on(type, listener)
  }

  async #apply(loaded: LoadedConfig): Promise<void> {
    const { applier, registry, endpoints } = this.#require("apply")
    registry.useFixed(loaded.config.services)
    endpoints.use(loaded.config)
    try {
      const { plan, applied } = await applier.apply(loaded)
      this.#loaded = loaded
      this.#plan = plan
      this.#listeners = applied.listeners
      this.#applies.applied++
      this.#hub.useNames({
        routes: plan.routes.map(({ name }) => name),
        upstreams: plan.upstreams.map(({ name }) => name),
      })
      this.#hub.emit({ type: "applied", time: Date.now(), version: plan.version })
    } catch (error) {
      this.#applies.refused++
      registry.useFixed(this.#loaded.config.services)
      endpoints.use(this.#loaded.config)
      this.#hub.emit({ type: "refused", time: Date.now(), message: messageOf(error) })
      throw error
    }
  }

  #create(): Running {
    const { config } = this.#loaded
    const module = this.#options.native ?? loadNative()
    const dataDir = config.dataDir === null ? null : new DataDir(config.dataDir)
    const native = new module.NativeGateway({
      workers: config.workers,
      layoutVersion: LAYOUT_VERSION,
      eventRings: this.#hub.memory,
    })
    native.onWake(() => this.#hub.wake())
    const registry = new ServiceRegistry(dataDir?.file("registry.db") ?? ":memory:")
    const endpoints = new Endpoints(registry, (change) => this.#changed(change))
    const complain = (text: string): void => this.#hub.emit({ type: "log", time: Date.now(), level: 40, text })
    const createHost = this.#options.policyHost ?? inlinePolicyHost
    const host = createHost({ native: module, gatewayId: native.id, workers: config.workers, complain })
    const applier = new Applier({ native, host, source: endpoints })
    const timers = [
      setInterval(() => registry.sweep(), SWEEP_MS),
      setInterval(() => this.#changed("endpoints"), RESOLVE_MS),
    ]
    // The sweep keeps the process alive as long as the gateway runs: native threads alone do not.
    timers[1]?.unref()
    return { native, registry, endpoints, host, applier, dataDir, timers }
  }

  #changed(change: EndpointChange): void {
    if (this.#running === null || this.#plan === null) return
    if (change === "weights") return this.#setWeights()
    // Changes that come while one is applied are one more apply, not one each.
    this.#reapply ??= Promise.resolve().then(async () => {
      this.#reapply = null
      if (this.#running !== null) await this.#apply(this.#loaded).catch(() => undefined)
    })
  }

  #setWeights(): void {
    const { native, endpoints } = this.#require("weights")
    native.setWeights(JSON.stringify(endpoints.weights(this.#plan?.upstreams ?? [])))
  }

  #require(call: string): Running {
    if (this.#running === null) throw wrongState(call, this.#state)
    return this.#running
  }
}

function isLoaded(config: unknown): config is LoadedConfig {
  return typeof config === "object" && config !== null && "config" in config && "functions" in config
}
