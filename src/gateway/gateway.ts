/**
 * A gateway's life: created, started, changed, drained, closed. It owns the native data plane, the registry, the checks
 * and the threads of the policies; everything else asks it. See docs/lifecycle.md.
 */
import { type LoadedConfig, toLoaded } from "../config/index.ts"
import { messageOf } from "../errors.ts"
import type { GatewayEvent, GatewayEventType } from "../model/gateway-event.ts"
import type { InjectedMessage, MessageListener, PublishOptions, SubscribeOptions } from "../model/message.ts"
import type { MqttTraceLine, MqttWatch } from "../model/mqtt-trace.ts"
import { type BoundListener, loadNative, type NativeGateway, type Plan } from "../native/index.ts"
import type { Optimizer } from "../optimizer/index.ts"
import type { ServiceRegistry } from "../registry/index.ts"
import { type AppliedPlan, wrongState } from "./applier.ts"
import { ChangeQueue } from "./change-queue.ts"
import type { EndpointChange, Endpoints } from "./endpoints.ts"
import { createEngine, type Engine } from "./engine.ts"
import { EventHub, type Listener } from "./event-hub.ts"
import { type GatewayOptions, type GatewayState, type GatewayStats, NO_COUNTS } from "./options.ts"
import { inlinePolicyHost } from "./policy-host.ts"

export class Gateway implements AsyncDisposable {
  readonly #options: GatewayOptions
  readonly #hub: EventHub
  readonly #changes = new ChangeQueue()
  #loaded: LoadedConfig
  #engine: Engine | null = null
  #state: GatewayState = "created"
  #plan: Plan | null = null
  #listeners: readonly BoundListener[] = []
  #applies = { applied: 0, refused: 0 }

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

  get optimizer(): Optimizer {
    return this.#require("optimizer").optimizer
  }

  /** Binds every listener and serves. Throws PORT_IN_USE and the like, and is closed then. */
  async start(): Promise<this> {
    if (this.#state !== "created") throw wrongState("start", this.#state)
    this.#engine = createEngine({
      config: this.#loaded.config,
      hub: this.#hub,
      native: this.#options.native ?? loadNative(),
      createHost: this.#options.policyHost ?? inlinePolicyHost,
      now: this.#options.now ?? Date.now,
      changed: (change) => this.#changed(change),
      refresh: () => this.#changes.run(() => this.#refresh()),
    })
    this.#state = "running"
    try {
      await this.#changes.run(() => this.#apply(this.#loaded))
      return this
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Another configuration, as a value or loaded. A bad one changes nothing and throws with every problem. */
  async reload(config: unknown): Promise<void> {
    this.#require("reload")
    try {
      await this.#changes.run(async () => this.#apply(await toLoaded(config)))
    } catch (error) {
      this.refuse(error)
      throw error
    }
  }

  /** Counts and tells a change that did not get as far as being applied. */
  refuse(error: unknown): void {
    this.#applies.refused++
    this.#hub.emit({ type: "refused", time: Date.now(), message: messageOf(error) })
  }

  /** Stops accepting, says goodbye, waits for what is under way; bounded by `drain.timeoutMs`. */
  async drain(): Promise<void> {
    const { native } = this.#require("drain")
    this.#state = "draining"
    await native.drain(JSON.stringify(this.#loaded.config.drain))
  }

  /** Ends everything and joins the native threads; may be called again. */
  async close(): Promise<void> {
    const engine = this.#engine
    this.#state = "closed"
    this.#engine = null
    await engine?.close()
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
      ...(this.#engine?.counts() ?? NO_COUNTS),
      policies: this.#engine?.shadows.beside(this.#loaded.functions) ?? [],
    }
  }

  /** Publishes as if a client had; resolves to the outcome's name, `success` or why not. */
  async publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<string> {
    const { native } = this.#require("publish")
    return native.publish(topic, Buffer.from(payload as string), JSON.stringify(options))
  }

  /** `publish` with everything in one object. */
  inject({ topic, payload, ...options }: InjectedMessage): Promise<string> {
    return this.publish(topic, payload, options)
  }

  /** Calls back for every message whose topic matches; retained ones first. Returns the way out. */
  subscribe(filter: string, listener: MessageListener, { qos = 0 }: SubscribeOptions = {}): () => void {
    const { native } = this.#require("subscribe")
    const id = native.subscribe(filter, qos)
    this.#hub.subscribe(id, listener)
    return () => {
      this.#hub.unsubscribe(id)
      if (this.#engine !== null) native.unsubscribe(id)
    }
  }

  /** Shows MQTT packets of a client, a topic filter, or all, as they come and go. Returns the way out. */
  trace(watch: MqttWatch, listener: (line: MqttTraceLine) => void): () => void {
    const tell = (watches: readonly MqttWatch[]) => this.#engine?.native.trace(JSON.stringify(watches))
    return this.#hub.traces.start(watch, listener, tell)
  }

  /** Listens to events; may be called before the start. Returns the way out. */
  on<T extends GatewayEventType>(type: T, listener: Listener<T>): () => void {
    return this.#hub.on(type, listener)
  }

  /** Tells listeners of something that happened around the gateway. */
  tell(event: GatewayEvent): void {
    this.#hub.emit(event)
  }

  /** Puts a line into the log. */
  warn(text: string): void {
    this.#hub.emit({ type: "log", time: Date.now(), level: 40, text })
  }

  async #apply(loaded: LoadedConfig): Promise<void> {
    const engine = this.#require("apply")
    engine.use(loaded)
    try {
      this.#accept(loaded, await engine.applier.apply(loaded))
    } catch (error) {
      engine.use(this.#loaded)
      throw error
    }
  }

  #accept(loaded: LoadedConfig, { plan, applied }: AppliedPlan): void {
    this.#loaded = loaded
    this.#plan = plan
    this.#listeners = applied.listeners
    this.#applies.applied++
    this.#engine?.follow(loaded, applied)
    this.#hub.useNames(plan)
    this.#hub.emit({ type: "applied", time: Date.now(), version: plan.version })
  }

  #changed(change: EndpointChange): Promise<void> | undefined {
    if (this.#engine === null || this.#plan === null) return undefined
    if (change === "weights") return void this.#setWeights()
    return this.#changes.run(() => this.#refresh()).catch((error: unknown) => this.refuse(error))
  }

  async #refresh(): Promise<void> {
    if (this.#engine === null) return
    const { applier, endpoints } = this.#engine
    endpoints.use(this.#loaded)
    const refreshed = await applier.refresh(this.#loaded)
    if (refreshed !== null) this.#accept(this.#loaded, refreshed)
    else this.#setWeights()
  }

  #setWeights(): void {
    if (this.#engine === null) return
    const { native, endpoints } = this.#engine
    native.setWeights(JSON.stringify(endpoints.weights(this.#plan?.upstreams ?? [])))
  }

  #require(call: string): Engine {
    if (this.#engine === null) throw wrongState(call, this.#state)
    return this.#engine
  }
}
