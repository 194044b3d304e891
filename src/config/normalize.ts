/** From checked data to the normalized configuration: the one place where defaults enter. */
import { availableParallelism } from "node:os"
import { resolve } from "node:path"
import type { AccessLogPlan, ListenerPlan, ProtocolName } from "../native/index.ts"
import { toCidr } from "../route/index.ts"
import { mapTurns, type Turns } from "../turns.ts"
import { formatHostPort, isLoopback, parseHostPort, parseListener } from "./address.ts"
import { knowsUsers, normalizeHooks } from "./hooks.ts"
import { normalizeAlert } from "./normalize-alert.ts"
import { type NormalizeContext, normalizeAuth, readSecret } from "./normalize-auth.ts"
import { normalizeBridges } from "./normalize-bridges.ts"
import { normalizeConfigSource } from "./normalize-config-source.ts"
import { normalizeDtls } from "./normalize-dtls.ts"
import { normalizeOscore } from "./normalize-oscore.ts"
import { normalizeRateLimits } from "./normalize-rate-limits.ts"
import { normalizeRegistry } from "./normalize-registry.ts"
import { normalizeRoute, type RouteContext } from "./normalize-route.ts"
import { normalizeServices, normalizeSources } from "./normalize-source.ts"
import { normalizeServerTls } from "./normalize-tls.ts"
import { normalizeTracing } from "./normalize-tracing.ts"
import { breakersOf, normalizeUpstream } from "./normalize-upstream.ts"
import type { NormalizedAdmin, NormalizedConfig } from "./normalized.ts"
import type { ConfigData, ListenerData } from "./schema/index.ts"
import { BROKER, COAP, DRAIN, LIMITS, MQTT, OPTIMIZER, withDefaults } from "./schema/numbers.ts"

const ALL: Readonly<Record<"tcp" | "udp", readonly ProtocolName[]>> = {
  tcp: ["http1", "http2", "websocket", "mqtt", "coap-tcp", "tls"],
  udp: ["coap", "dtls"],
}

const DEFAULT_LISTENERS: readonly ListenerData[] = [
  { address: "tcp://127.0.0.1:7000" },
  { address: "udp://127.0.0.1:5683" },
]

export function* normalize(data: ConfigData, context: NormalizeContext): Turns<NormalizedConfig> {
  const { httpPath = "/t", durability = "process", sharedSubscriptions = "fair", hooks, ...broker } = data.broker ?? {}
  const { redirect, responseInformation = null, ...mqtt } = data.mqtt ?? {}
  const { forwardProxy = false, ownHosts = [], ...coap } = data.coap ?? {}
  const { database } = data.auth ?? {}
  const dataDir = data.dataDir ?? ".tidegate"
  const access = normalizeAuth(data.auth, context)
  const routeContext: RouteContext = {
    folder: context.folder,
    users: access.users.flatMap(({ name, hash }) => (hash === null ? [] : [[name, hash] as const])),
    secret: (given, path) => readSecret(given, path, context),
  }
  const breakers = yield* breakersOf(data)
  const routes = yield* mapTurns(data.routes ?? [], (route, index) => {
    return deepFreeze(normalizeRoute(route, index, routeContext))
  })
  return deepFreeze({
    workers: data.workers ?? availableParallelism(),
    policyThreads: data.policyThreads ?? 1,
    listeners: (data.listeners ?? DEFAULT_LISTENERS).map((listener, index) =>
      normalizeListener(listener, { data, index, context }),
    ),
    admin: normalizeAdmin(data.admin, context),
    upstreams: Object.entries(data.upstreams ?? {}).map(([name, upstream]) =>
      normalizeUpstream(name, upstream, { breaker: breakers.get(name) ?? null, context }),
    ),
    services: normalizeServices(data.services ?? {}),
    sources: normalizeSources(data.services ?? {}, context),
    registry: normalizeRegistry(data.registry, context),
    rateLimits: normalizeRateLimits(data.rateLimits, context),
    routes,
    broker: {
      httpPath: httpPath.replace(/\/+$/, ""),
      durability,
      sharedSubscriptions,
      ...withDefaults(BROKER, broker),
    },
    hooks: normalizeHooks(hooks),
    mqtt: {
      redirect: redirect
        ? { to: redirect.to, permanent: redirect.permanent ?? false, always: redirect.when === "always" }
        : null,
      responseInformation,
      ...withDefaults(MQTT, mqtt),
    },
    coap: { forwardProxy, ownHosts, ...withDefaults(COAP, coap) },
    access,
    accounts:
      database === undefined
        ? null
        : { file: resolve(context.folder, database.file), table: database.table ?? "users" },
    bridges: normalizeBridges(data.bridges, context),
    limits: withDefaults(LIMITS, data.limits),
    drain: withDefaults(DRAIN, data.drain),
    alerts: (data.alerts ?? []).map(normalizeAlert),
    optimizer: { mode: data.optimizer?.mode ?? "propose", ...withDefaults(OPTIMIZER, data.optimizer) },
    log: {
      level: data.log?.level ?? "info",
      sampleEvery: data.log?.sampleEvery ?? 0,
      access: normalizeAccessLog(data.log?.access, context.folder),
    },
    forward: {
      via: true,
      forwarded: false,
      requestId: true,
      traceparent: false,
      clientCertificate: "none",
      ...data.forward,
    },
    tracing: normalizeTracing(data.tracing, context),
    configSource: normalizeConfigSource(data.configSource, context),
    dataDir: dataDir === false ? null : resolve(context.folder, dataDir),
  })
}

function normalizeAccessLog(given: NonNullable<ConfigData["log"]>["access"], folder: string): AccessLogPlan | null {
  if (given === undefined || given === false) return null
  const { format = "json", file, sampleEvery = 1 } = typeof given === "string" ? { format: given } : given
  return { format, file: file === undefined ? null : resolve(folder, file), sampleEvery }
}

function normalizeListener(
  listener: ListenerData,
  { data, index, context }: { data: ConfigData; index: number; context: NormalizeContext },
): ListenerPlan {
  const address = parseListener(listener.address) ?? { transport: "tcp", host: "127.0.0.1", port: 0 }
  const { protocols = "detect" } = listener
  return {
    name: nameOf(listener, index, data),
    transport: address.transport,
    address: formatHostPort(address),
    protocols: protocols === "detect" ? ALL[address.transport] : protocols,
    proxyProtocolFrom: (listener.proxyProtocolFrom ?? []).map(toCidr),
    trustedProxies: (listener.trustedProxies ?? []).map(toCidr),
    // Whoever configured users wants them asked for; else the machine itself may come in.
    anonymous: listener.anonymous ?? (!knowsUsers(data) && isLoopback(address.host)),
    unknownTo: listener.unknownTo ?? null,
    tls: address.transport === "udp" ? null : listenerTls(listener, { data, index, context }),
    dtls: listener.dtls === undefined ? null : normalizeDtls(listener.dtls, ["listeners", index, "dtls"], context),
    oscore: normalizeOscore(listener.oscore ?? [], ["listeners", index, "oscore"], context),
  }
}

/** The address as configured. Several that are given any free port are counted: `tcp://127.0.0.1:0 (2)`. */
function nameOf({ address }: ListenerData, index: number, { listeners = [] }: ConfigData): string {
  const before = listeners.slice(0, index).filter((other) => other.address === address).length
  return before === 0 ? address : `${address} (${before + 1})`
}

/** The listener's own, or the one of the whole configuration. */
function listenerTls(
  listener: ListenerData,
  { data, index, context }: { data: ConfigData; index: number; context: NormalizeContext },
): ListenerPlan["tls"] {
  const own = listener.tls !== undefined
  const tls = listener.tls ?? data.tls ?? false
  // An empty one says nothing: there is no TLS without a certificate.
  if (tls === false || Object.keys(tls).length === 0) return null
  return normalizeServerTls(tls, own ? ["listeners", index, "tls"] : ["tls"], context)
}

function normalizeAdmin(admin: ConfigData["admin"], context: NormalizeContext): NormalizedAdmin | null {
  if (admin === false) return null
  const address = parseHostPort(admin?.address ?? "127.0.0.1:7001") ?? { host: "127.0.0.1", port: 7001 }
  const { token, readToken, readers = [], tls, hosts = [] } = admin ?? {}
  return {
    ...address,
    token: token === undefined ? null : readSecret(token, ["admin", "token"], context),
    readToken: readToken === undefined ? null : readSecret(readToken, ["admin", "readToken"], context),
    readers,
    tls: tls === undefined ? null : normalizeServerTls(tls, ["admin", "tls"], context),
    hosts,
  }
}

function deepFreeze<T>(value: T): T {
  if (value === null || typeof value !== "object" || Object.isFrozen(value)) return value
  for (const key in value) deepFreeze(value[key])
  return Object.freeze(value)
}
