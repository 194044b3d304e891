/** Upstreams and fixed services with their defaults. */
import type { Static } from "typebox"
import { toBalancePlan } from "../balance/index.ts"
import type { BreakerPlan } from "../native/index.ts"
import { toAdaptivePlan, toBreakerPlan, toOutlierPlan } from "../resilience/index.ts"
import { mapTurns, type Turns } from "../turns.ts"
import { formatHostPort, parseHostPort } from "./address.ts"
import { upstreamsOf } from "./check-routes.ts"
import type { NormalizeContext } from "./normalize-auth.ts"
import { normalizeClientTls } from "./normalize-tls.ts"
import type { NormalizedEndpoint, NormalizedHealth, NormalizedSubset, NormalizedUpstream } from "./normalized.ts"
import type { NormalizedGoals } from "./normalized-optimizer.ts"
import type { ConfigData, UpstreamData } from "./schema/index.ts"
import { UPSTREAM, withDefaults } from "./schema/numbers.ts"
import { HEALTH_KINDS, type InstanceSchema } from "./schema/upstream.ts"

/** What is offered to an upstream over TLS. */
const ALPN = {
  any: ["h2", "http/1.1"],
  http1: ["http/1.1"],
  h2: ["h2"],
  h2c: ["h2"],
  mqtt: ["mqtt"],
  coap: ["coap"],
} as const

type EndpointData = NonNullable<UpstreamData["endpoints"]>[number]
type ServiceData = Static<typeof InstanceSchema>

export function normalizeUpstream(
  name: string,
  data: UpstreamData,
  { breaker, context }: { breaker: BreakerPlan | null; context: NormalizeContext },
): NormalizedUpstream {
  const {
    endpoints = [],
    service,
    subset,
    preferZone,
    protocol,
    balance = "roundRobin",
    health,
    outlier,
    adaptive,
    goals,
    tls,
    proxyProtocol,
    ...rest
  } = data
  // h2 is HTTP/2 in TLS; in the clear it is called h2c.
  const secured = tls === undefined && protocol !== "h2" ? null : (tls ?? true)
  const at = ["upstreams", name, "tls"]
  // A connection that names its client is no one else's: HTTP/2 is not asked for.
  const alpn = ALPN[protocol ?? (proxyProtocol === undefined ? "any" : "http1")]
  const wire = {
    protocol: protocol ?? "http1",
    proxyProtocol: proxyProtocol ?? null,
    tls: secured === null ? null : normalizeClientTls(secured, { at, context, alpn }),
  }
  const limits = withDefaults(UPSTREAM, rest as Partial<Record<keyof typeof UPSTREAM, number>>)
  return {
    name,
    ...wire,
    balance: toBalancePlan(balance),
    balancer: typeof balance === "object" ? (balance.custom ?? null) : null,
    endpoints: endpoints.map(normalizeEndpoint),
    service: service ?? null,
    subset: subset === undefined ? null : normalizeSubset(subset),
    preferZone: preferZone ?? null,
    health: health === undefined ? null : normalizeHealth(health, wire),
    breaker,
    adaptive: toAdaptivePlan(adaptive),
    outlier: outlier === undefined || outlier === false ? null : toOutlierPlan(outlier),
    goals: goals === undefined ? null : normalizeGoals(goals, limits.maxRequests),
    problem: null,
    ...limits,
  }
}

/** Each upstream's own breaker, or the one a route to it asks for; checked to be one. */
export function* breakersOf({ upstreams = {}, routes = [] }: ConfigData): Turns<Map<string, BreakerPlan>> {
  const found = new Map<string, BreakerPlan>()
  for (const [name, { breaker }] of Object.entries(upstreams)) {
    if (breaker !== undefined) found.set(name, toBreakerPlan(breaker))
  }
  yield* mapTurns(routes, (route) => {
    const use = route.use?.find((use) => typeof use !== "string" && use.breaker !== undefined)
    if (use === undefined || typeof use === "string") return
    for (const name of upstreamsOf(route)) if (!found.has(name)) found.set(name, toBreakerPlan(use.breaker ?? {}))
  })
  return found
}

function normalizeGoals(goals: NonNullable<UpstreamData["goals"]>, configured: number): NormalizedGoals {
  const { errorRate = null, p99Ms = null, load = 0.8, maxRequests = {} } = goals
  const { min = Math.ceil(configured / 10), max = configured } = maxRequests
  return { errorRate, p99Ms, load, min, max }
}

function normalizeSubset({ fallback = "none", ...wanted }: NonNullable<UpstreamData["subset"]>): NormalizedSubset {
  const any = { zone: null, version: null, labels: {} }
  return { ...any, ...wanted, fallback: typeof fallback === "string" ? fallback : { ...any, ...fallback } }
}

function normalizeEndpoint(data: EndpointData): NormalizedEndpoint {
  const { address, weight = 1, zone = null, labels = {} } = typeof data === "string" ? { address: data } : data
  const parsed = parseHostPort(address) ?? { host: "", port: 0 }
  return { id: formatHostPort(parsed), ...parsed, weight, zone, labels }
}

export function normalizeService(data: ServiceData): NormalizedEndpoint & { version: string | null } {
  if (typeof data === "string") return { ...normalizeEndpoint(data), version: null }
  const {
    host,
    port,
    id = formatHostPort({ host, port }),
    weight = 1,
    zone = null,
    version = null,
    metadata = {},
  } = data
  return { id, host, port, weight, zone, version, labels: metadata }
}

function normalizeHealth(
  data: NonNullable<UpstreamData["health"]>,
  wire: Pick<NormalizedHealth, "protocol" | "tls" | "proxyProtocol">,
): NormalizedHealth {
  const { http, status, body, host, command, custom, intervalMs = 2_000, timeoutMs = 1_000, rise = 2, fall = 3 } = data
  return {
    kind: HEALTH_KINDS.find((kind) => data[kind] !== undefined) ?? "tcp",
    path: http ?? "",
    command: command ?? [],
    custom: custom ?? null,
    host: host ?? null,
    service: typeof data.grpc === "string" ? data.grpc : "",
    ...wire,
    status: typeof status === "number" ? [status] : (status ?? []),
    body: body ?? null,
    intervalMs,
    timeoutMs,
    rise,
    fall,
  }
}
