/**
 * A configuration with every default filled in, every name checked and every secret
 * resolved: what the rest of the control plane works with. Frozen.
 */

import type { Bridge } from "../model/bridge.ts"
import type {
  AccessPlan,
  AdaptivePlan,
  BalancePlan,
  BreakerPlan,
  BrokerPlan,
  ClientTlsPlan,
  CoapPlan,
  ForwardPlan,
  HooksPlan,
  ListenerPlan,
  LogPlan,
  MatchPlan,
  MqttPlan,
  OutlierPlan,
  ServerTlsPlan,
  StepPlan,
  TargetPlan,
} from "../native/index.ts"
import type { HostPort } from "./address.ts"
import type { NormalizedGoals, NormalizedOptimizer } from "./normalized-optimizer.ts"
import type { NormalizedRateLimits, NormalizedRegistry } from "./normalized-sharing.ts"
import type { NormalizedTracing } from "./normalized-tracing.ts"
import type { CONFIG_SOURCE_KINDS } from "./schema/config-source.ts"
import type { BROKER, COAP, DRAIN, LIMITS, MQTT, UPSTREAM } from "./schema/numbers.ts"
import type { SOURCE_KINDS } from "./schema/source.ts"

type Numbers<T> = { readonly [K in keyof T]: number }

export interface NormalizedEndpoint extends HostPort {
  readonly id: string
  readonly weight: number
  readonly zone: string | null
  readonly labels: Readonly<Record<string, string>>
}

/** Which endpoints of an upstream are meant; null: any. */
export interface NormalizedSubset {
  readonly zone: string | null
  readonly version: string | null
  readonly labels: Readonly<Record<string, string>>
  /** Who is meant where nobody is of it. */
  readonly fallback: "none" | "any" | Omit<NormalizedSubset, "fallback">
}

export interface NormalizedHealth {
  readonly kind: "http" | "tcp" | "grpc" | "mqtt" | "coap" | "command" | "custom"
  readonly path: string
  readonly host: string | null
  /** Of a grpc check; empty: the whole server. */
  readonly service: string
  /** How the upstream is spoken to. */
  readonly protocol: "http1" | "h2c" | "h2" | "mqtt" | "coap"
  readonly tls: ClientTlsPlan | null
  readonly proxyProtocol: "v1" | "v2" | null
  /** Empty: 200 to 399. */
  readonly status: readonly number[]
  readonly body: string | null
  /** Program and arguments; empty for other kinds. */
  readonly command: readonly string[]
  /** Name of a function; null for other kinds. */
  readonly custom: string | null
  readonly intervalMs: number
  readonly timeoutMs: number
  readonly rise: number
  readonly fall: number
}

export interface NormalizedUpstream extends Numbers<typeof UPSTREAM> {
  readonly name: string
  readonly protocol: "http1" | "h2c" | "h2" | "mqtt" | "coap"
  readonly tls: ClientTlsPlan | null
  readonly proxyProtocol: "v1" | "v2" | null
  readonly balance: BalancePlan
  /** Name of the function that picks endpoints; null: native does. */
  readonly balancer: string | null
  /** Fixed ones; empty where `service` names a registry's. */
  readonly endpoints: readonly NormalizedEndpoint[]
  readonly service: string | null
  readonly subset: NormalizedSubset | null
  /** The zone that is asked first; null: all alike. */
  readonly preferZone: string | null
  readonly health: NormalizedHealth | null
  readonly breaker: BreakerPlan | null
  readonly adaptive: AdaptivePlan | null
  readonly outlier: OutlierPlan | null
  /** What the optimizer moves `maxRequests` for; null: it does not. */
  readonly goals: NormalizedGoals | null
  readonly problem: string | null
}

/** A rule over the metrics and what it does. */
export interface NormalizedAlert {
  readonly name: string
  readonly metric: string
  readonly labels: Readonly<Record<string, string>>
  readonly perSecond: boolean
  readonly quantile: number | null
  /** One of both is a number. */
  readonly above: number | null
  readonly below: number | null
  readonly clearAt: number | null
  readonly forMs: number
  readonly actions: readonly {
    readonly log: "info" | "warn" | "error" | null
    readonly webhook: string | null
    readonly topic: string | null
    readonly command: readonly string[]
  }[]
}

/** Where the instances of a service are found. */
export interface NormalizedSource {
  readonly kind: (typeof SOURCE_KINDS)[number]
  /** Name, path, URL, prefix or service by kind; empty: the service's name here. */
  readonly target: string
  /** Of consul, etcd and kubernetes, without a slash at its end; empty: the pod's. */
  readonly url: string
  readonly token: string | null
  /** ADDRESS:PORT of a DNS server; null: the system's. */
  readonly resolver: string | null
  /** Of consul. */
  readonly tag: string | null
  /** Of kubernetes. */
  readonly namespace: string | null
  readonly port: string | null
  readonly intervalMs: number
}

/** Where the configuration is kept when it is not the file itself. */
export interface NormalizedConfigSource {
  readonly kind: (typeof CONFIG_SOURCE_KINDS)[number]
  /** Of the server; path of the file for sqlite; empty: the pod's. */
  readonly url: string
  readonly key: string
  /** Of sqlite and postgres. */
  readonly table: string
  /** Of postgres. */
  readonly channel: string
  /** Of kubernetes. */
  readonly configMap: string
  readonly namespace: string | null
  /** Of nats. */
  readonly bucket: string
  readonly user: string | null
  readonly password: string | null
  readonly token: string | null
  readonly intervalMs: number
}

/** A step of the plan, or a use of a TypeScript policy that becomes one. */
export type NormalizedStep =
  | Exclude<StepPlan, { readonly kind: "script" }>
  | { readonly kind: "policy"; readonly name: string; readonly options: Readonly<Record<string, unknown>> }

/** Policies of each hook of the broker, as written. */
export type NormalizedHooks = {
  readonly [hook in keyof HooksPlan]: readonly {
    readonly name: string
    readonly options: Readonly<Record<string, unknown>>
  }[]
}

export interface NormalizedRoute {
  readonly name: string
  readonly priority: number
  readonly when: MatchPlan
  readonly target: TargetPlan
  readonly mirror: string | null
  readonly steps: readonly NormalizedStep[]
  readonly timeoutMs: number
  readonly problem: string | null
}

export interface NormalizedAdmin extends HostPort {
  readonly token: string | null
  /** Whoever holds it may look, not change. */
  readonly readToken: string | null
  /** Common names of certificates that may look, not change; others may do all. */
  readonly readers: readonly string[]
  readonly tls: ServerTlsPlan | null
  readonly hosts: readonly string[]
}

export interface NormalizedConfig {
  readonly workers: number
  readonly policyThreads: number
  readonly listeners: readonly ListenerPlan[]
  readonly admin: NormalizedAdmin | null
  readonly upstreams: readonly NormalizedUpstream[]
  readonly services: Readonly<Record<string, readonly (NormalizedEndpoint & { readonly version: string | null })[]>>
  /** Services whose instances are found elsewhere. */
  readonly sources: Readonly<Record<string, NormalizedSource>>
  /** Null: each gateway keeps its own. */
  readonly registry: NormalizedRegistry | null
  /** Null: none is shared. */
  readonly rateLimits: NormalizedRateLimits | null
  readonly bridges: readonly Bridge[]
  readonly routes: readonly NormalizedRoute[]
  /** Users in a database, or null. */
  readonly accounts: { readonly file: string; readonly table: string } | null
  readonly hooks: NormalizedHooks
  readonly broker: Numbers<typeof BROKER> & Pick<BrokerPlan, "httpPath" | "durability" | "sharedSubscriptions">
  readonly mqtt: Numbers<typeof MQTT> & Pick<MqttPlan, "redirect" | "responseInformation">
  readonly coap: Numbers<typeof COAP> & Pick<CoapPlan, "forwardProxy" | "ownHosts">
  readonly access: AccessPlan
  readonly limits: Numbers<typeof LIMITS>
  readonly drain: Numbers<typeof DRAIN>
  readonly alerts: readonly NormalizedAlert[]
  readonly optimizer: NormalizedOptimizer
  readonly log: { readonly level: string } & LogPlan
  readonly forward: ForwardPlan
  readonly tracing: NormalizedTracing | null
  readonly configSource: NormalizedConfigSource | null
  /** Absolute; null: nothing is kept on disk. */
  readonly dataDir: string | null
}
