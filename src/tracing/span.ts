/** A span as native tells it, and as collectors know it: names and attributes of OpenTelemetry's conventions. */

/** What native writes of a sampled request, of each of its tries, or of a message; ids are hexadecimal. */
export interface SpanRecord {
  /** `client`: a try at an upstream, below the request's span. */
  readonly kind: "server" | "client"
  readonly trace: string
  readonly span: string
  /** Empty: the trace begins here. */
  readonly parent: string
  readonly state: string
  readonly flags: number
  /** `http1 http2 mqtt coap`, ... */
  readonly protocol: string
  readonly method: string
  readonly target: string
  readonly host: string
  readonly scheme: string
  readonly client: string
  readonly agent: string
  readonly route: string
  readonly upstream: string
  readonly endpoint: string
  /** Of a try: address and port of the endpoint, the number of tries before, whether another try was faster. */
  readonly peer: string
  readonly resend: number
  readonly isOutdone: boolean
  readonly flag: string
  readonly retries: number
  readonly status: number
  readonly startUs: number
  readonly durationUs: number
}

/** String or integer. */
export type Attribute = readonly [key: string, value: string | number]

export interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly traceState: string
  readonly flags: number
  readonly name: string
  readonly kind: number
  readonly startNs: bigint
  readonly endNs: bigint
  readonly attributes: readonly Attribute[]
  readonly isError: boolean
}

const [SERVER, CLIENT] = [2, 3]
const METHODS = new Set(["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"])
/** Bits 8 and 9 of a span's flags: whether the parent came from elsewhere is known, and it did. */
const [KNOWN_PARENT, REMOTE_PARENT] = [0x100, 0x300]

export function toSpan(record: SpanRecord): Span {
  const { trace, span, parent, state, flags, startUs, durationUs } = record
  const isClient = record.kind === "client"
  const [name, attributes, isError] = describe(record)
  const own: Attribute[] = [
    ["tidegate.upstream", record.upstream],
    ["tidegate.endpoint", record.endpoint],
    ["tidegate.response_flag", record.flag],
    ["tidegate.retries", record.retries],
  ]
  const startNs = BigInt(Math.round(startUs)) * 1_000n
  return {
    traceId: trace,
    spanId: span,
    parentSpanId: parent,
    traceState: state,
    flags: flags | (parent === "" ? 0 : isClient ? KNOWN_PARENT : REMOTE_PARENT),
    name,
    kind: isClient ? CLIENT : SERVER,
    startNs,
    endNs: startNs + BigInt(Math.max(0, Math.round(durationUs))) * 1_000n,
    attributes: [...attributes, ...own].filter(([, value]) => value !== "" && value !== 0),
    isError,
  }
}

type Described = readonly [name: string, attributes: readonly Attribute[], isError: boolean]

function describe(record: SpanRecord): Described {
  if (record.kind === "client") return toTry(record)
  return record.protocol.startsWith("http") ? toHttp(record) : toMessage(record)
}

/** HTTP client spans: one for each try. An answer of 4xx is an error for whoever asked. */
function toTry({ method, target, host, scheme, peer, resend, status, flag, isOutdone }: SpanRecord): Described {
  const known = METHODS.has(method) ? method : "_OTHER"
  const [server, endpoint] = [splitHost(host), splitHost(peer)]
  const isError = status >= 400 || flag !== ""
  const attributes: Attribute[] = [
    ["http.request.method", known],
    ["http.request.method_original", known === method ? "" : method],
    ["http.request.resend_count", resend],
    ["http.response.status_code", status],
    ["url.full", `${scheme}://${host}${target}`],
    ["server.address", server.name],
    ["server.port", server.port],
    ["network.peer.address", endpoint.name],
    ["network.peer.port", endpoint.port],
    ["error.type", isError ? (flag === "" ? String(status) : flag) : ""],
    ["tidegate.outdone", isOutdone ? "true" : ""],
  ]
  return [known === "_OTHER" ? "HTTP" : known, attributes, isError]
}

/** HTTP server spans: opentelemetry.io, "Semantic conventions for HTTP spans". */
function toHttp({ method, target, host, route, status, scheme, ...rest }: SpanRecord): Described {
  const known = METHODS.has(method) ? method : "_OTHER"
  const [path = "", ...query] = target.split("?")
  const { name, port } = splitHost(host)
  const isError = status >= 500
  const attributes: Attribute[] = [
    ["http.request.method", known],
    ["http.request.method_original", known === method ? "" : method],
    ["http.route", route],
    ["http.response.status_code", status],
    ["url.path", path],
    ["url.query", query.join("?")],
    ["url.scheme", scheme],
    ["server.address", name],
    ["server.port", port],
    ["client.address", rest.client],
    ["user_agent.original", rest.agent],
    ["network.protocol.name", "http"],
    ["network.protocol.version", rest.protocol === "http2" ? "2" : "1.1"],
    ["error.type", isError ? String(status) : ""],
  ]
  const label = known === "_OTHER" ? "HTTP" : known
  return [route === "" ? label : `${label} ${route}`, attributes, isError]
}

/** A message or a request of another protocol; the topic stands in an attribute, since there are many. */
function toMessage({ protocol, method, target, route, status, client, agent }: SpanRecord): Described {
  const attributes: Attribute[] = [
    ["messaging.system", protocol],
    ["messaging.operation.name", method],
    ["messaging.destination.name", target],
    ["messaging.client.id", agent],
    ["client.address", client],
    ["tidegate.route", route],
    ["tidegate.outcome", status],
  ]
  return [`${method} ${protocol}`, attributes, status >= 128]
}

function splitHost(host: string): { name: string; port: number } {
  const found = /^(.*?)(?::(\d+))?$/.exec(host)
  return { name: (found?.[1] ?? "").replace(/^\[|\]$/g, ""), port: Number(found?.[2] ?? 0) }
}
