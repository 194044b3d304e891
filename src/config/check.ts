/**
 * What a schema cannot say: names that must exist, conditions that must compile,
 * addresses that must be safe. Runs on data whose shape is right.
 */
import { isIP } from "node:net"
import type { Functions } from "../policy/index.ts"
import { cidrFault, topicFilterFault } from "../route/index.ts"
import type { Turns } from "../turns.ts"
import { formatHostPort, isLoopback, parseHostPort, parseListener } from "./address.ts"
import { checkAlerts } from "./check-alerts.ts"
import { checkOscore } from "./check-oscore.ts"
import { checkRoutes } from "./check-routes.ts"
import { checkServices, checkUpstream } from "./check-upstreams.ts"
import { checkHooks, knowsUsers } from "./hooks.ts"
import { didYouMean } from "./nearest.ts"
import type { Path } from "./path.ts"
import { CONFIG_SOURCE_KINDS } from "./schema/config-source.ts"
import type { ConfigData, ListenerData } from "./schema/index.ts"
import type { Fault } from "./validate.ts"

/** Collects faults under a path. */
export type Report = (path: Path, message: string, severity?: "warning") => void

/**
 * Every fault of the meaning. With `malformed` the shape has faults already: a part
 * that cannot be looked at is passed over, since it has been complained about.
 */
export function* meaningFaults(data: ConfigData, functions: Functions, malformed = false): Turns<Fault[]> {
  const faults: Fault[] = []
  const report: Report = (path, message, severity) => faults.push({ path, message, ...(severity && { severity }) })
  const attempt: Attempt = (check) => {
    try {
      check()
    } catch (error) {
      if (!malformed) throw error
    }
  }
  attempt(() => checkListeners(data, report))
  attempt(() => checkOscore(data, report))
  attempt(() => checkAdmin(data, report))
  for (const [name, upstream] of Object.entries(data.upstreams ?? {}))
    attempt(() => checkUpstream(name, upstream, functions, report))
  attempt(() => checkServices(data, functions, report))
  yield* checkRoutes({ data, functions, report, attempt })
  attempt(() => checkHooks(data, functions, report))
  attempt(() => checkNames(data, functions, report))
  attempt(() => checkAuth(data, report))
  attempt(() => checkAlerts(data, report))
  attempt(() => checkConfigSource(data, report))
  attempt(() => checkTracing(data, report))
  return faults
}

/** Runs one check; see `meaningFaults`. */
export type Attempt = (check: () => void) => void

function checkAuth({ auth, upstreams = {} }: ConfigData, report: Report): void {
  const asked = auth?.http?.upstream
  if (asked !== undefined && !Object.hasOwn(upstreams, asked))
    report(
      ["auth", "http", "upstream"],
      `upstream "${asked}" does not exist${didYouMean(asked, Object.keys(upstreams))}`,
    )
  for (const [index, rule] of (auth?.acl ?? []).entries()) {
    const fault = topicFilterFault(rule.topic)
    if (fault !== null) report(["auth", "acl", index, "topic"], fault)
    if ((rule.allow === undefined) === (rule.deny === undefined))
      report(["auth", "acl", index], 'say either "allow" or "deny"')
  }
}

function checkListeners(data: ConfigData, report: Report): void {
  const { listeners = [] } = data
  const seen = new Map<string, number>()
  const hasUsers = knowsUsers(data)
  for (const [index, listener] of listeners.entries()) {
    const at: Path = ["listeners", index]
    const address = parseListener(listener.address)
    if (address === null) {
      report([...at, "address"], `"${listener.address}" is not tcp://HOST:PORT or udp://HOST:PORT`)
      continue
    }
    if (isIP(address.host) === 0) {
      report([...at, "address"], `"${address.host}" is no IP address; 0.0.0.0 and [::] stand for all of this machine`)
    }
    const key = `${address.transport}://${formatHostPort(address)}`
    const first = address.port === 0 ? undefined : seen.get(key)
    if (first !== undefined) report([...at, "address"], `${key} is already taken by listeners[${first}]`)
    seen.set(key, index)
    // DTLS asks everybody who he is, and without it topics are refused.
    const asks = hasUsers || listener.dtls !== undefined || listener.oscore !== undefined
    if (!isLoopback(address.host) && !asks && listener.anonymous !== true) {
      report(at, `${key} can be reached from other machines: add auth.users, or say "anonymous: true" here`)
    }
    checkListener(listener, address.transport, at, report)
  }
}

function checkListener(listener: ListenerData, transport: "tcp" | "udp", at: Path, report: Report): void {
  for (const key of ["proxyProtocolFrom", "trustedProxies"] as const) {
    for (const [index, cidr] of (listener[key] ?? []).entries()) {
      const fault = cidrFault(cidr)
      if (fault !== null) report([...at, key, index], fault)
    }
  }
  if (listener.unknownTo !== undefined && parseHostPort(listener.unknownTo) === null) {
    report([...at, "unknownTo"], `"${listener.unknownTo}" is not HOST:PORT`)
  }
  if (transport === "udp" && typeof listener.tls === "object") report([...at, "tls"], "a udp listener has no TLS")
  if (transport === "tcp" && listener.dtls !== undefined) report([...at, "dtls"], "a tcp listener has no DTLS")
  checkOscoreNamed(listener, at, report)
  checkDatagrams(listener, transport, at, report)
}

function checkOscoreNamed({ protocols, oscore }: ListenerData, at: Path, report: Report): void {
  if (protocols === undefined || protocols === "detect") return
  if (protocols.includes("oscore") !== (oscore !== undefined)) {
    report([...at, "protocols"], 'names "oscore" where "oscore" says its contexts, and only there')
  }
}

function checkDatagrams(listener: ListenerData, transport: "tcp" | "udp", at: Path, report: Report): void {
  const { protocols, dtls } = listener
  if (transport !== "udp" || protocols === undefined || protocols === "detect") return
  const wrong = protocols.filter((protocol) => !["coap", "dtls", "oscore"].includes(protocol))
  if (wrong.length > 0)
    report([...at, "protocols"], `a udp listener speaks coap, dtls and oscore, not ${wrong.join(", ")}`)
  if (protocols.includes("dtls") !== (dtls !== undefined)) {
    report([...at, "protocols"], 'names "dtls" where "dtls" says its keys, and only there')
  }
}

function checkAdmin({ admin }: ConfigData, report: Report): void {
  if (admin === undefined || admin === false) return
  if (admin.readToken !== undefined && admin.token === undefined && admin.tls?.clientAuth === undefined)
    report(["admin", "readToken"], 'without "token" everybody may change: add it')
  if (admin.address === undefined) return
  const address = parseHostPort(admin.address)
  if (address === null) return report(["admin", "address"], `"${admin.address}" is not HOST:PORT`)
  if (!isLoopback(address.host) && admin.token === undefined && admin.tls?.clientAuth === undefined) {
    report(["admin"], `${admin.address} can be reached from other machines: add "token", or "tls" with "clientAuth"`)
  }
}

/** `policies` and `handlers` hold names and module paths; names must be known. */
function checkNames(data: ConfigData, functions: Functions, report: Report): void {
  for (const key of ["policies", "handlers"] as const) {
    const names = data[key] ?? []
    for (const [index, name] of (typeof names === "string" ? [names] : names).entries()) {
      const known = functions[key]
      if (isModulePath(name) || known.has(name)) continue
      const where: Path = typeof names === "string" ? [key] : [key, index]
      report(where, `"${name}" is neither a module path nor a known name${didYouMean(name, known.keys())}`)
    }
  }
}

/** `./policies.ts` and the like; the rest are names. */
export function isModulePath(text: string): boolean {
  return text.includes("/") || /\.[mc]?[jt]s$/.test(text)
}

function checkConfigSource({ configSource }: ConfigData, report: Report): void {
  if (configSource === undefined) return
  const given = CONFIG_SOURCE_KINDS.filter((kind) => configSource[kind] !== undefined)
  if (given.length !== 1) report(["configSource"], `needs exactly one of ${CONFIG_SOURCE_KINDS.join(", ")}`)
}

/** An empty one says nothing; one with settings and nowhere to go is a mistake. */
function checkTracing({ tracing }: ConfigData, report: Report): void {
  if (tracing !== undefined && tracing.endpoint === undefined && Object.keys(tracing).length > 0)
    report(["tracing"], 'needs "endpoint": where the collector is')
}
