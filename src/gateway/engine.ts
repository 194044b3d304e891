/**
 * Everything that runs between a gateway's start and its end: the native data plane,
 * the registry, the checks, the host of the policies, the timers, the data directory.
 */
import { AlertBoard } from "../alerts/index.ts"
import { Bridges } from "../bridges/index.ts"
import { DataDir, type LoadedConfig, type NormalizedConfig } from "../config/index.ts"
import { Scraper } from "../metrics/index.ts"
import type { ShadowReport } from "../model/shadow.ts"
import {
  type Applied,
  type BoundListener,
  LAYOUT_VERSION,
  type NativeGateway,
  type NativeModule,
} from "../native/index.ts"
import { Optimizer } from "../optimizer/index.ts"
import { DirectoryFollower, Paced, ServiceRegistry, SharedRegistry, SourceFollower } from "../registry/index.ts"
import { LimitExchange } from "../sharing/index.ts"
import { Tracer } from "../tracing/index.ts"
import { Accounts } from "./accounts.ts"
import { Applier } from "./applier.ts"
import { type EndpointChange, Endpoints } from "./endpoints.ts"
import type { EventHub } from "./event-hub.ts"
import type { EngineCounts } from "./options.ts"
import type { CreatePolicyHost, PolicyHost } from "./policy-host.ts"
import { ShadowBoard } from "./shadow-board.ts"
import { TlsFiles } from "./tls-files.ts"

export interface Engine {
  readonly native: NativeGateway
  readonly registry: ServiceRegistry
  readonly endpoints: Endpoints
  readonly host: PolicyHost
  readonly shadows: ShadowBoard
  readonly applier: Applier
  readonly optimizer: Optimizer
  /** Null where nothing is kept on disk. */
  readonly dataDir: DataDir | null
  /** What its parts say of themselves. */
  counts(): EngineCounts
  /** Takes over services and endpoints of a configuration that is to be applied, or of the one before. */
  use(loaded: LoadedConfig): void
  /** Follows what an applied configuration names: sources of services, alerts, bridges; tells what of it is broken. */
  follow(loaded: LoadedConfig, applied: Applied): void
  /** Ends all of it and joins the native threads. */
  close(): Promise<void>
}

export interface EngineOptions {
  readonly config: NormalizedConfig
  readonly hub: EventHub
  readonly native: NativeModule
  readonly createHost: CreatePolicyHost
  /** Resolves when a change of the endpoints is applied. */
  readonly changed: (change: EndpointChange) => Promise<void> | undefined
  /** The configuration in force once more; rejects where it cannot be applied. */
  readonly refresh: () => Promise<void>
  readonly now: () => number
}

/** Between looks at endpoints whose name may have other addresses, and at instances that may have expired. */
const RESOLVE_MS = 30_000
const SWEEP_MS = 1_000

/** Locks the data directory and starts the native threads; nothing listens yet. */
export function createEngine(options: EngineOptions): Engine {
  const { config } = options
  const dataDir = config.dataDir === null ? null : new DataDir(config.dataDir)
  try {
    return assemble(options, dataDir)
  } catch (error) {
    dataDir?.close()
    throw error
  }
}

function assemble(
  { config, hub, native: module, createHost, changed: apply, refresh, now }: EngineOptions,
  dataDir: DataDir | null,
): Engine {
  const { workers } = config
  const changes = { weights: new Paced(() => apply("weights")), endpoints: new Paced(() => apply("endpoints")) }
  const changed = (change: EndpointChange): void => changes[change].call()
  const registry = new ServiceRegistry(dataDir?.file("registry.db") ?? ":memory:", now)
  const endpoints = new Endpoints(registry, changed)
  const native = new module.NativeGateway({
    workers,
    layoutVersion: LAYOUT_VERSION,
    eventRings: hub.memory,
    dataDir: dataDir?.file("broker") ?? null,
  })
  native.onWake(() => hub.wake())
  const complain = (text: string): void => hub.emit({ type: "log", time: Date.now(), level: 40, text })
  const shadows = new ShadowBoard(complain)
  const shadow = (report: ShadowReport): void => shadows.take(report)
  const host = createHost({
    native: module,
    gatewayId: native.id,
    workers,
    threads: config.policyThreads,
    complain,
    shadow,
  })
  const sources = new SourceFollower(registry, complain)
  const shared = new SharedRegistry(registry, complain)
  const scraper = new Scraper(native)
  const alerts = new AlertBoard({
    scrape: () => scraper.scrape(),
    log: (level, text) => hub.emit({ type: "log", time: Date.now(), level, text }),
    publish: (topic, payload) => native.publish(topic, Buffer.from(payload), JSON.stringify({ retain: true, qos: 1 })),
    changed: ({ name, state, value, at }) => hub.emit({ type: "alert", time: at, name, state, value }),
  })
  const tlsFiles = new TlsFiles(() => changed("endpoints"), complain)
  const accounts = new Accounts(() => changed("endpoints"), complain)
  const info = (text: string): void => hub.emit({ type: "log", time: Date.now(), level: 30, text })
  const optimizer = new Optimizer({ scrape: () => scraper.scrape(), apply: refresh, log: info, now: Date.now })
  const applier = new Applier({ native, host, source: endpoints, accounts, optimizer })
  const directory = new DirectoryFollower(registry, native, complain)
  hub.directoryChanged = () => void directory.pull()
  const sweep = (): void => {
    registry.sweep()
    void directory.pull()
  }
  // The sweep keeps the process alive as long as the gateway runs: native threads alone do not.
  const timers = [setInterval(() => sweep(), SWEEP_MS), setInterval(() => changed("endpoints"), RESOLVE_MS).unref()]
  const use = (loaded: LoadedConfig): void => {
    registry.useFixed(loaded.config.services)
    endpoints.use(loaded)
  }
  const bridges = new Bridges(complain)
  const tracer = new Tracer(complain)
  const exchange = new LimitExchange(native, complain)
  let told: ReadonlySet<string> = new Set()
  const tellBroken = (problems: Applied["problems"]): void => {
    const broken = new Set(problems.map(({ path, message }) => `${path} is broken: ${message}`))
    for (const text of broken) if (!told.has(text)) complain(text)
    told = broken
  }
  const follow = ({ config, functions }: LoadedConfig, { listeners, problems }: Applied): void => {
    tellBroken(problems)
    sources.use(config.sources, functions)
    shared.use(config.registry)
    exchange.use(config.rateLimits)
    alerts.use(config.alerts)
    optimizer.use(config)
    tracer.use(config.tracing)
    hub.traceTo(tracer.isOn ? (text) => tracer.take(text) : null)
    bridges.use(config.bridges, localMqtt(config, listeners))
    void tlsFiles.use(config)
  }
  const close = async (): Promise<void> => {
    for (const timer of timers) clearInterval(timer)
    hub.directoryChanged = () => {}
    tlsFiles.close()
    accounts.close()
    alerts.close()
    optimizer.close()
    await bridges.close()
    sources.close()
    shared.close()
    exchange.close()
    endpoints.close()
    for (const change of Object.values(changes)) change.close()
    await host.close()
    await native.close()
    hub.flush()
    await tracer.close()
    registry.close()
    dataDir?.close()
  }
  const counts = (): EngineCounts => {
    const parts = { spans: tracer.counts, sharedLimits: exchange.counts, optimizer: optimizer.report() }
    return { alerts: alerts.rows(), ...parts }
  }
  return { native, registry, counts, endpoints, host, shadows, applier, optimizer, dataDir, use, follow, close }
}

/** Where a bridge of this gateway reaches it: its first TCP listener that takes MQTT. */
function localMqtt({ listeners }: NormalizedConfig, bound: readonly BoundListener[]): string | null {
  const names = listeners.filter(({ transport, protocols }) => transport === "tcp" && protocols.includes("mqtt"))
  const found = bound.find(({ name }) => names.some((listener) => listener.name === name))
  return found === undefined ? null : `mqtt://${found.address.replace(/^(0\.0\.0\.0|\[::\])(?=:)/, "127.0.0.1")}`
}
