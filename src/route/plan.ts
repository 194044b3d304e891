/** A user's condition as plan data, and what is wrong with it where it cannot become any. */
import { hash } from "node:crypto"
import { isIP } from "node:net"
import { messageOf } from "../errors.ts"
import type { CertificateMatch, Match, TextMatch } from "../model/match.ts"
import type { CertificateMatchPlan, MatchPlan, PathPlan, ProtocolName, TextPlan, ValuePlan } from "../native/index.ts"

/** Names a condition may use for protocols; `http` stands for both versions. */
export const PROTOCOLS: Readonly<Record<string, readonly ProtocolName[]>> = {
  http: ["http1", "http2"],
  http1: ["http1"],
  http2: ["http2"],
  websocket: ["websocket"],
  mqtt: ["mqtt"],
  coap: ["coap", "coap-tcp"],
  "coap-tcp": ["coap-tcp"],
}

/** Longer regular expressions are refused here; the native engine caps the compiled size besides. */
const MAX_REGEX = 1_024

/** A fault of a condition: the key in it and what is wrong. */
export interface MatchFault {
  readonly key: string
  readonly message: string
}

/** The condition as Rust compiles it. Call `matchFaults` first. */
export function toMatchPlan(match: Match): MatchPlan {
  return {
    protocols: each(match.protocol, (name) => PROTOCOLS[name] ?? []),
    host: match.host?.toLowerCase() ?? null,
    path: match.path === undefined ? null : toPathPlan(match.path),
    methods: each(match.method, (name) => name.toUpperCase()),
    headers: toValuePlans(match.header, (name) => name.toLowerCase()),
    query: toValuePlans(match.query, (name) => name),
    topic: match.topic ?? null,
    clientId: match.clientId === undefined ? null : toTextPlan(match.clientId),
    user: match.user === undefined ? null : toTextPlan(match.user),
    source: each(match.source, toCidr),
    sni: match.sni?.toLowerCase() ?? null,
    certificate: match.certificate === undefined ? null : toCertificatePlan(match.certificate),
  }
}

/** The stable name of a route that has none: a hash of its condition and priority. */
export function routeName(match: MatchPlan, priority: number): string {
  const digest = hash("sha256", JSON.stringify([match, priority])).slice(0, 8)
  const hint = match.path?.value ?? match.topic ?? match.host ?? "any"
  return `${hint}#${digest}`
}

/** Everything wrong with a condition that its schema cannot say. */
export function matchFaults(match: Match): readonly MatchFault[] {
  const faults: MatchFault[] = []
  const fault = (key: string, message: string | null): void => {
    if (message !== null) faults.push({ key, message })
  }
  if (match.path !== undefined) fault("path", pathFault(match.path))
  if (match.host !== undefined) fault("host", hostFault(match.host))
  if (match.topic !== undefined) fault("topic", topicFilterFault(match.topic))
  if (match.clientId !== undefined) fault("clientId", textFault(match.clientId))
  if (match.user !== undefined) fault("user", textFault(match.user))
  for (const [name, value] of Object.entries(match.header ?? {})) fault(`header.${name}`, valueFault(value))
  for (const [name, value] of Object.entries(match.query ?? {})) fault(`query.${name}`, valueFault(value))
  if (typeof match.certificate === "object") {
    const { subject, name, fingerprint } = match.certificate
    if (subject !== undefined) fault("certificate.subject", textFault(subject))
    if (name !== undefined) fault("certificate.name", textFault(name))
    if (fingerprint !== undefined && !/^[0-9a-f]{64}$/.test(toFingerprint(fingerprint)))
      fault("certificate.fingerprint", `"${fingerprint}" is no SHA-256: 64 hexadecimal digits`)
  }
  for (const cidr of list(match.source)) fault("source", cidrFault(cidr))
  for (const name of list(match.protocol)) {
    if (!Object.hasOwn(PROTOCOLS, name)) fault("protocol", `"${name}" is none of ${Object.keys(PROTOCOLS).join(", ")}`)
  }
  return faults
}

/** What is wrong with a CIDR or address, or null. */
export function cidrFault(text: string): string | null {
  const [address = "", prefix, ...rest] = text.split("/")
  const version = isIP(address)
  const valid = prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (version === 4 ? 32 : 128))
  return version !== 0 && valid && rest.length === 0 ? null : `"${text}" is no address and no CIDR`
}

/** An address alone stands for itself: `/32` or `/128`. */
export function toCidr(text: string): string {
  return text.includes("/") ? text : `${text}/${isIP(text) === 6 ? 128 : 32}`
}

/** What is wrong with a topic filter, or null. MQTT 5 section 4.7. */
export function topicFilterFault(filter: string): string | null {
  const levels = filter.split("/")
  if (filter.length === 0 || Buffer.byteLength(filter) > 65_535) return "a topic filter has 1 to 65535 bytes"
  if (filter.includes("\u0000")) return "a topic filter has no NUL"
  if (levels.slice(0, -1).some((level) => level.includes("#"))) return '"#" may only be the last level'
  const mixed = levels.some((level) => level.length > 1 && /[+#]/.test(level))
  return mixed ? '"+" and "#" must fill a whole level' : null
}

/** One list for all that have nothing to say: there may be many thousands. */
const NONE: readonly never[] = Object.freeze([])

function each<T>(
  value: string | readonly string[] | undefined,
  map: (entry: string) => T | readonly T[],
): readonly T[] {
  return value === undefined ? NONE : list(value).flatMap(map)
}

/** Names that a condition captures of the path. */
export function captureNames({ path = "" }: Match): string[] {
  const text = typeof path === "string" ? path : path.regex
  const name = typeof path === "string" ? /\{([A-Za-z_]\w*)\}/g : /\(\?P?<([A-Za-z_]\w*)>/g
  return [...text.matchAll(name)].map(([, found = ""]) => found)
}

function list(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return NONE
  return typeof value === "string" ? [value] : value
}

function toPathPlan(value: TextMatch): PathPlan {
  if (typeof value !== "string") return { kind: "regex", value: value.regex }
  const isPrefix = value.endsWith("/**")
  const base = isPrefix ? value.slice(0, -3) : value
  if (!base.includes("{")) return isPrefix ? { kind: "prefix", value: base || "/" } : { kind: "exact", value }
  if (!isPrefix) return { kind: "template", value }
  const segments = base.split("/").map(segmentRegex).join("/")
  return { kind: "regex", value: `${segments}(?:/(?P<rest>.*))?` }
}

function segmentRegex(segment: string): string {
  const capture = /^\{([A-Za-z_][A-Za-z0-9_]*)\}$/.exec(segment)
  return capture ? `(?P<${capture[1]}>[^/]+)` : segment.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
}

function toTextPlan(value: TextMatch | true): TextPlan {
  if (value === true) return { kind: "present", value: "" }
  return typeof value === "string" ? { kind: "exact", value } : { kind: "regex", value: value.regex }
}

function toValuePlans(values: Match["header"], toName: (name: string) => string): readonly ValuePlan[] {
  if (values === undefined) return NONE
  return Object.entries(values).map(([name, value]) => ({ name: toName(name), ...toTextPlan(value) }))
}

function pathFault(value: TextMatch): string | null {
  if (typeof value !== "string") return regexFault(value.regex)
  if (!value.startsWith("/")) return `"${value}" must start with a slash`
  if (value.includes("**") && value.indexOf("**") !== value.length - 2) return '"**" may only stand at the end'
  if (value.endsWith("**") && !value.endsWith("/**")) return '"**" must follow a slash'
  if (/[\s?#]/.test(value)) return "a path has no spaces, no ? and no #"
  const named = value.split("/").filter((segment) => /[{}]/.test(segment))
  const broken = named.find((segment) => !/^\{[A-Za-z_][A-Za-z0-9_]*\}$/.test(segment))
  if (broken !== undefined) return `"${broken}" must be a whole segment like {id}`
  const twice = named.find((segment, index) => named.indexOf(segment) !== index)
  return twice === undefined ? null : `"${twice}" stands there twice`
}

function toCertificatePlan(wanted: NonNullable<Match["certificate"]>): CertificateMatchPlan {
  const { subject, name, fingerprint } = typeof wanted === "object" ? wanted : ({} as CertificateMatch)
  return {
    shown: wanted !== false,
    subject: subject === undefined ? null : toTextPlan(subject),
    name: name === undefined ? null : toTextPlan(name),
    fingerprint: fingerprint === undefined ? null : toFingerprint(fingerprint),
  }
}

/** As openssl prints it or as it is. */
function toFingerprint(text: string): string {
  return text.replaceAll(":", "").toLowerCase()
}

function hostFault(host: string): string | null {
  if (/[/\s@]/.test(host)) return `"${host}" is no host: leave out what stands around the name`
  return host.indexOf("*", 1) === -1 && (!host.startsWith("*") || host.startsWith("*."))
    ? null
    : `"${host}": a wildcard is *. in front`
}

function valueFault(value: TextMatch | true): string | null {
  return value === true ? null : textFault(value)
}

function textFault(value: TextMatch): string | null {
  return typeof value === "string" ? null : regexFault(value.regex)
}

function regexFault(regex: string): string | null {
  if (regex.length > MAX_REGEX) return `a regular expression has at most ${MAX_REGEX} characters`
  if (/\(\?<?[=!]|\\[1-9]/.test(regex)) return "look-around and back-references are not linear and not supported"
  try {
    new RegExp(regex.replaceAll("(?P<", "(?<"), "u")
    return null
  } catch (error) {
    const why = messageOf(error).replace(/^Invalid regular expression: .*: /, "")
    return `"${regex}" is no regular expression: ${why}`
  }
}
