/** What a schema cannot say of `upstreams` and `services`. */
import type { Functions } from "../policy/index.ts"
import { parseHostPort } from "./address.ts"
import type { Report } from "./check.ts"
import { didYouMean } from "./nearest.ts"
import type { Path } from "./path.ts"
import type { ConfigData, SourceData, UpstreamData } from "./schema/index.ts"
import { UPSTREAM } from "./schema/numbers.ts"
import { SOURCE_KINDS } from "./schema/source.ts"
import { HEALTH_KINDS } from "./schema/upstream.ts"
import type { Fault } from "./validate.ts"

export function checkUpstream(name: string, upstream: UpstreamData, functions: Functions, report: Report): void {
  const at: Path = ["upstreams", name]
  const { endpoints, service, balance, health } = upstream
  if ((endpoints === undefined) === (service === undefined)) report(at, 'say either "endpoints" or "service"')
  for (const [index, endpoint] of (endpoints ?? []).entries()) {
    const address = typeof endpoint === "string" ? endpoint : endpoint.address
    const parsed = parseHostPort(address)
    if (parsed === null || parsed.port === 0) report([...at, "endpoints", index], `"${address}" is not HOST:PORT`)
  }
  if (upstream.proxyProtocol !== undefined && (upstream.protocol ?? "http1") !== "http1")
    report([...at, "proxyProtocol"], "only with http1: what clients share belongs to none of them")
  if (typeof balance === "object" && Object.keys(balance).length !== 1)
    report([...at, "balance"], "say exactly one strategy")
  if (typeof balance === "object" && balance.consistentHash !== undefined) {
    const { by, header, query, cookie } = balance.consistentHash
    const given = [by, header, query, cookie].filter((key) => key !== undefined)
    if (given.length > 1) report([...at, "balance", "consistentHash"], "say only one of by, header, query, cookie")
    if (balance.consistentHash.set !== undefined && cookie === undefined)
      report([...at, "balance", "consistentHash", "set"], 'say which cookie: "cookie" has its name')
  }
  const custom = typeof balance === "object" ? balance.custom : undefined
  if (custom !== undefined && !functions.balancers.has(custom)) {
    report(
      [...at, "balance", "custom"],
      `"${custom}" is no defineBalancer${didYouMean(custom, functions.balancers.keys())}`,
    )
  }
  checkGoals(upstream, (key, message) => report([...at, "goals", ...key], message))
  checkHealth(health, functions, (key, message) => report([...at, "health", ...key], message))
}

function checkGoals(
  { goals, adaptive, protocol, maxRequests = UPSTREAM.maxRequests[0] }: UpstreamData,
  report: (key: Path, message: string) => void,
): void {
  if (goals === undefined) return
  if (goals.errorRate === undefined && goals.p99Ms === undefined) report([], 'say "errorRate", "p99Ms" or both')
  if (adaptive !== undefined && adaptive !== false) report([], '"adaptive" moves the limit already: say one of them')
  if (protocol === "mqtt") report([], "connections of MQTT are no requests that maxRequests could limit")
  const { min = 1, max = maxRequests } = goals.maxRequests ?? {}
  if (min > maxRequests || max < maxRequests)
    report(["maxRequests"], `maxRequests, which is ${maxRequests}, is not between ${min} and ${max}`)
}

function checkHealth(
  health: UpstreamData["health"],
  { healthChecks }: Functions,
  report: (key: Path, message: string) => void,
): void {
  if (health === undefined) return
  const given = HEALTH_KINDS.filter((kind) => health[kind] !== undefined)
  if (given.length !== 1) report([], `say exactly one of ${HEALTH_KINDS.join(", ")}`)
  const { custom } = health
  if (custom !== undefined && !healthChecks.has(custom)) {
    report(["custom"], `"${custom}" is no defineHealthCheck${didYouMean(custom, healthChecks.keys())}`)
  }
}

export function checkServices({ services = {} }: ConfigData, { registries }: Functions, report: Report): void {
  for (const [name, instances] of Object.entries(services)) {
    if (!Array.isArray(instances)) {
      checkSource(["services", name], instances as SourceData, registries, report)
      continue
    }
    for (const [index, instance] of instances.entries()) {
      if (typeof instance !== "string" || parseHostPort(instance) !== null) continue
      report(["services", name, index], `"${instance}" is not HOST:PORT`)
    }
  }
}

function checkSource(at: Path, source: SourceData, registries: Functions["registries"], report: Report): void {
  const given = SOURCE_KINDS.filter((kind) => source[kind] !== undefined)
  if (given.length !== 1) report(at, `say exactly one of ${SOURCE_KINDS.join(", ")}`)
  const { dns, registry } = source
  if (dns !== undefined && !/^[^:\s]+:\d{1,5}$/.test(dns)) report([...at, "dns"], `"${dns}" is not NAME:PORT`)
  if (registry !== undefined && !registries.has(registry)) {
    report([...at, "registry"], `"${registry}" is no defineRegistry${didYouMean(registry, registries.keys())}`)
  }
}

/** Commands to run that do not stand in the local file. */
export function foreignCommands(data: ConfigData, local: ConfigData): Fault[] {
  const commands = ({ upstreams = {}, alerts = [] }: ConfigData): { path: Path; command: string }[] => [
    ...Object.entries(upstreams).flatMap(([name, { health }]) => {
      if (health?.command === undefined) return []
      return [{ path: ["upstreams", name, "health", "command"], command: JSON.stringify(health.command) }]
    }),
    ...alerts.flatMap(({ do: actions }, index) =>
      actions.flatMap(({ command }, place) => {
        if (command === undefined) return []
        return [{ path: ["alerts", index, "do", place, "command"], command: JSON.stringify(command) }]
      }),
    ),
  ]
  const known = new Set(commands(local).map(({ command }) => command))
  const foreign = commands(data).filter(({ command }) => !known.has(command))
  const message = "a command to run may only come from the local configuration file"
  return foreign.map(({ path }) => ({ path, message }))
}
