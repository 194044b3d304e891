/** Spans: what a collector gets by OTLP, what goes on in `traceparent`, and what is dropped. */
import { once } from "node:events"
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import mqtt from "mqtt"
import protobuf from "protobufjs"
import { request } from "undici"
import { type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial

/** The messages of opentelemetry-proto that spans have, for a decoder that is not ours. */
const PROTO = `
syntax = "proto3";
message Request { repeated ResourceSpans resource_spans = 1; }
message ResourceSpans { Resource resource = 1; repeated ScopeSpans scope_spans = 2; }
message Resource { repeated KeyValue attributes = 1; }
message ScopeSpans { Scope scope = 1; repeated Span spans = 2; }
message Scope { string name = 1; string version = 2; }
message Span {
  bytes trace_id = 1; bytes span_id = 2; string trace_state = 3; bytes parent_span_id = 4; string name = 5; int32 kind = 6;
  fixed64 start_time_unix_nano = 7; fixed64 end_time_unix_nano = 8; repeated KeyValue attributes = 9;
  Status status = 15; fixed32 flags = 16;
}
message Status { string message = 2; int32 code = 3; }
message KeyValue { string key = 1; AnyValue value = 2; }
message AnyValue { oneof value { string string_value = 1; bool bool_value = 2; int64 int_value = 3; } }
`
const OtlpRequest = protobuf.parse(PROTO).root.lookupType("Request")

interface Seen {
  traceId: string
  spanId: string
  parentSpanId: string
  traceState: string
  name: string
  kind: number
  flags: number
  startNs: bigint
  endNs: bigint
  attributes: Record<string, string | number>
  status: number
  resource: Record<string, string | number>
}

interface Collector {
  url: string
  spans: Seen[]
  headers: IncomingMessage["headers"][]
  answer: (response: ServerResponse) => void
  server: Server
}

type Attributes = { key: string; value: { stringValue?: string; intValue?: string } }[]

/** What both forms say of a request, in the words of OTLP/JSON. */
interface Otlp {
  resourceSpans: {
    resource: { attributes: Attributes }
    scopeSpans: {
      spans: {
        traceId: string
        spanId: string
        parentSpanId?: string
        traceState?: string
        name: string
        kind: number
        flags?: number
        startTimeUnixNano: string
        endTimeUnixNano: string
        attributes: Attributes
        status?: { code?: number }
      }[]
    }[]
  }[]
}

const values = (list: Attributes = []) =>
  Object.fromEntries(list.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue)]))

/** Both forms come to the same objects: protobuf by protobufjs, JSON by its own rules. */
function decode(body: Buffer, type: string | undefined): Seen[] {
  const isJson = type === "application/json"
  const hex = (id: string | undefined): string =>
    isJson ? (id ?? "") : Buffer.from(id ?? "", "base64").toString("hex")
  const options = { longs: String, bytes: String }
  const data: unknown = isJson ? JSON.parse(body.toString()) : OtlpRequest.toObject(OtlpRequest.decode(body), options)
  return (data as Otlp).resourceSpans.flatMap((group) =>
    group.scopeSpans.flatMap(({ spans }) =>
      spans.map(
        (span): Seen => ({
          traceId: hex(span.traceId),
          spanId: hex(span.spanId),
          parentSpanId: hex(span.parentSpanId),
          traceState: span.traceState ?? "",
          name: span.name,
          kind: span.kind,
          flags: span.flags ?? 0,
          startNs: BigInt(span.startTimeUnixNano),
          endNs: BigInt(span.endTimeUnixNano),
          attributes: values(span.attributes),
          status: span.status?.code ?? 0,
          resource: values(group.resource.attributes),
        }),
      ),
    ),
  )
}

async function collector(): Promise<Collector> {
  const self: Collector = {
    url: "",
    spans: [],
    headers: [],
    answer: (response) => void response.end(),
    server: createServer(),
  }
  self.server.on("request", async (incoming: IncomingMessage, response: ServerResponse) => {
    const parts: Buffer[] = []
    for await (const part of incoming) parts.push(part)
    self.headers.push({ ...incoming.headers, path: incoming.url })
    self.answer(response)
    if (response.statusCode < 300) self.spans.push(...decode(Buffer.concat(parts), incoming.headers["content-type"]))
  })
  self.server.listen(0, "127.0.0.1")
  await once(self.server, "listening")
  self.url = `http://127.0.0.1:${(self.server.address() as AddressInfo).port}`
  return self
}

/** A span of that path, once the collector has it. */
async function spanOf({ spans }: Collector, path: string): Promise<Seen> {
  for (const end = Date.now() + 5_000; Date.now() < end; await sleep(20)) {
    const found = spans.find(
      ({ attributes }) => attributes["url.path"] === path || attributes["messaging.destination.name"] === path,
    )
    if (found !== undefined) return found
  }
  throw new Error(`no span of ${path} among ${spans.map(({ attributes }) => attributes["url.path"]).join()}`)
}

/** The spans of tries below a request's, in their order, once there are so many. */
async function triesOf({ spans }: Collector, { traceId, spanId }: Seen, count: number): Promise<Seen[]> {
  for (const end = Date.now() + 5_000; Date.now() < end; await sleep(20)) {
    const found = spans.filter((span) => span.kind === 3 && span.traceId === traceId && span.parentSpanId === spanId)
    if (found.length >= count) return found.sort((a, b) => resends(a) - resends(b))
  }
  throw new Error(`not ${count} tries below ${spanId}`)
}

const resends = ({ attributes }: Seen): number => Number(attributes["http.request.resend_count"] ?? 0)

let collected: Collector
let api: Awaited<ReturnType<typeof upstream>>
let slow: Awaited<ReturnType<typeof upstream>>
let gateway: Running
/** `traceparent` of each try, in the order in which they came. */
const tried: string[] = []
const forwarded: Record<string, NodeJS.Dict<string | string[]>> = {}

const config = (tracing: object) => ({
  upstreams: {
    api: { endpoints: [api.address] },
    gone: { endpoints: ["127.0.0.1:1"] },
    pair: { endpoints: [slow.address, api.address] },
  },
  routes: [
    { name: "things", when: { path: "/things/**" }, to: "api" },
    { name: "gone", when: { path: "/gone" }, to: "gone" },
    { name: "again", when: { path: "/again/**" }, to: "api", use: [{ retry: { attempts: 2, on: ["5xx"] } }] },
    {
      name: "hedged",
      when: { path: "/hedged/**" },
      to: "pair",
      use: [{ retry: { attempts: 1, hedge: { afterMs: 50 } } }],
    },
    { name: "own", when: { path: "/own" }, to: { respond: { body: "own" } } },
    { name: "onward", when: { topic: "onward/#" }, to: "api" },
  ],
  tracing: { endpoint: collected.url, delayMs: 50, ...tracing },
})

ava.before(async () => {
  collected = await collector()
  slow = await upstream(({ headers }, response) => {
    tried.push(String(headers.traceparent))
    setTimeout(() => response.end("late"), 1_000)
  })
  api = await upstream(({ url = "", headers }, response) => {
    forwarded[url] = headers
    if (!url.startsWith("/things")) tried.push(String(headers.traceparent))
    if (url.startsWith("/again") && tried.length === 1) return void response.writeHead(503).end("later")
    response.writeHead(url.includes("broken") ? 500 : 200).end("done")
  })
  gateway = await runGateway(
    config({
      serviceName: "edge",
      attributes: { "deployment.environment.name": "test" },
      headers: { "x-key": "s3cret" },
    }),
  )
})

ava.after.always(async () => {
  await gateway?.stop()
  collected?.server.closeAllConnections()
  collected?.server.close()
  for (const behind of [api, slow]) {
    behind?.server.closeAllConnections()
    behind?.server.close()
  }
})

const [TRACE, PARENT] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"]
const get = async (path: string, headers: Record<string, string> = {}, port = gateway.port) => {
  const { statusCode, body } = await request(`http://127.0.0.1:${port}${path}`, { headers })
  await body.dump()
  return statusCode
}

test("a request of a sampled parent is a span below it, and goes on as that span", async (t) => {
  const before = BigInt(Date.now()) * 1_000_000n
  await get("/things/1?a=b", { traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: "x=1,y=2", "user-agent": "tester" })
  const span = await spanOf(collected, "/things/1")
  t.deepEqual([span.traceId, span.parentSpanId, span.traceState], [TRACE, PARENT, "x=1,y=2"])
  t.regex(span.spanId, /^[0-9a-f]{16}$/)
  t.not(span.spanId, PARENT)
  const { traceparent, tracestate } = forwarded["/things/1?a=b"] ?? {}
  const [attempt] = await triesOf(collected, span, 1)
  t.deepEqual([traceparent, tracestate], [`00-${TRACE}-${attempt?.spanId}-01`, "x=1,y=2"])
  t.deepEqual([attempt?.name, attempt?.kind, attempt?.status, attempt?.traceState], ["GET", 3, 0, "x=1,y=2"])
  const [host, port] = api.address.split(":")
  t.like(attempt?.attributes, {
    "http.request.method": "GET",
    "http.response.status_code": 200,
    "url.full": `http://${api.address}/things/1?a=b`,
    "server.address": host,
    "server.port": Number(port),
    "network.peer.address": host,
    "network.peer.port": Number(port),
    "tidegate.upstream": "api",
  })
  t.is(attempt?.attributes["http.request.resend_count"], undefined)
  t.true(attempt !== undefined && attempt.startNs >= span.startNs && attempt.endNs <= span.endNs)
  t.deepEqual([span.name, span.kind, span.status], ["GET things", 2, 0])
  t.true(span.startNs >= before - 1_000_000_000n && span.endNs >= span.startNs)
  const { attributes, resource } = span
  t.like(attributes, {
    "http.request.method": "GET",
    "http.route": "things",
    "http.response.status_code": 200,
    "url.path": "/things/1",
    "url.query": "a=b",
    "url.scheme": "http",
    "server.address": "127.0.0.1",
    "server.port": gateway.port,
    "client.address": "127.0.0.1",
    "user_agent.original": "tester",
    "network.protocol.version": "1.1",
    "tidegate.upstream": "api",
  })
  t.like(resource, { "service.name": "edge", "deployment.environment.name": "test" })
  t.like(collected.headers[0], { "x-key": "s3cret", path: "/v1/traces", "content-type": "application/x-protobuf" })
})

test("a parent that is not sampled stays so, and goes on as it came", async (t) => {
  const came = `00-${TRACE}-${PARENT}-00`
  await get("/things/quiet", { traceparent: came })
  t.is(forwarded["/things/quiet"]?.traceparent, came)
  await get("/things/loud")
  await spanOf(collected, "/things/loud")
  t.false(collected.spans.some(({ attributes }) => attributes["url.path"] === "/things/quiet"))
})

test("without a parent, or with one that is none, the trace begins here", async (t) => {
  for (const [path, traceparent] of [
    ["/things/none", undefined],
    ["/things/bad", `00-${"0".repeat(32)}-${PARENT}-01`],
  ] as const) {
    await get(path, { ...(traceparent !== undefined && { traceparent }), tracestate: "old=1" })
    const span = await spanOf(collected, path)
    t.deepEqual([span.parentSpanId, span.traceState], ["", ""])
    const [attempt] = await triesOf(collected, span, 1)
    t.is(forwarded[path]?.traceparent, `00-${span.traceId}-${attempt?.spanId}-01`)
    t.is(forwarded[path]?.tracestate, undefined, "of another trace")
  }
})

test("what fails is an error, with its flag; own answers have spans, too", async (t) => {
  t.is(await get("/things/broken"), 500)
  const broken = await spanOf(collected, "/things/broken")
  t.deepEqual([broken.status, broken.attributes["error.type"]], [2, "500"])
  t.is(await get("/gone"), 503)
  const gone = await spanOf(collected, "/gone")
  t.is(gone.attributes["tidegate.response_flag"], "UF")
  const [refused] = await triesOf(collected, gone, 1)
  t.deepEqual([refused?.status, refused?.attributes["error.type"]], [2, "UF"])
  await get("/own")
  t.is((await spanOf(collected, "/own")).name, "GET own")
  await get("/nowhere")
  const nowhere = await spanOf(collected, "/nowhere")
  t.deepEqual([nowhere.name, nowhere.attributes["http.response.status_code"], nowhere.status], ["GET", 404, 0])
})

test("each try is a span that its endpoint is told: one again has its number", async (t) => {
  tried.length = 0
  t.is(await get("/again/1"), 200)
  const span = await spanOf(collected, "/again/1")
  const tries = await triesOf(collected, span, 2)
  t.deepEqual(
    tried,
    tries.map(({ spanId }) => `00-${span.traceId}-${spanId}-01`),
  )
  t.deepEqual(
    tries.map(({ status, attributes }) => [status, attributes["http.response.status_code"], attributes["error.type"]]),
    [
      [2, 503, "503"],
      [0, 200, undefined],
    ],
  )
  t.deepEqual(tries.map(resends), [0, 1])
  t.is(span.attributes["tidegate.retries"], 1)
})

test("of two tries at the same time each is a span, and the slower one says so", async (t) => {
  // Whose turn it is, is the balancer's to say: one of two begins at the slow endpoint.
  for (const path of ["/hedged/1", "/hedged/2"]) {
    tried.length = 0
    t.is(await get(path), 200)
    const span = await spanOf(collected, path)
    if (tried.length < 2) continue
    const tries = await triesOf(collected, span, 2)
    t.deepEqual(
      tried,
      tries.map(({ spanId }) => `00-${span.traceId}-${spanId}-01`),
    )
    t.deepEqual(
      tries.map(({ status, attributes }) => [
        status,
        attributes["tidegate.outdone"],
        attributes["http.response.status_code"],
      ]),
      [
        [0, "true", undefined],
        [0, undefined, 200],
      ],
    )
    return t.deepEqual(tries.map(resends), [0, 1])
  }
  t.fail("no request was tried twice")
})

test("a message carries its trace through the broker, and on to a service", async (t) => {
  const connected = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, {
    protocolVersion: 5,
    clientId: "device-1",
  })
  await connected.subscribeAsync(["traced/#", "onward/#"])
  const arrived = new Promise<string>((resolve) => {
    connected.once("message", (_topic, _payload, packet) =>
      resolve(String((packet.properties?.userProperties as Record<string, string>)?.traceparent)),
    )
  })
  const userProperties = { traceparent: `00-${TRACE}-${PARENT}-01`, other: "kept" }
  await connected.publishAsync("traced/a", "x", { qos: 1, properties: { userProperties } })
  const span = await spanOf(collected, "traced/a")
  t.deepEqual([span.name, span.traceId, span.parentSpanId], ["publish mqtt", TRACE, PARENT])
  t.is(await arrived, `00-${TRACE}-${span.spanId}-01`)
  t.is(span.attributes["messaging.client.id"], "device-1")
  await connected.publishAsync("onward/b", "x", { qos: 1, properties: { userProperties } })
  const onward = await spanOf(collected, "onward/b")
  t.is(forwarded["/t/onward/b"]?.traceparent, `00-${TRACE}-${onward.spanId}-01`)
  await connected.endAsync()
})

test("JSON for collectors that want it; a ratio of 0 begins nothing and says so", async (t) => {
  const json = await collector()
  const quiet = await runGateway(config({ endpoint: json.url, protocol: "http/json", ratio: 0 }))
  await get("/things/unsampled", {}, quiet.port)
  t.regex(String(forwarded["/things/unsampled"]?.traceparent), /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/)
  await get("/things/json", { traceparent: `00-${TRACE}-${PARENT}-01` }, quiet.port)
  const span = await spanOf(json, "/things/json")
  t.deepEqual([span.traceId, span.attributes["http.response.status_code"]], [TRACE, 200])
  t.is(json.headers[0]?.["content-type"], "application/json")
  t.is((await triesOf(json, span, 1)).length, 1)
  t.is(json.spans.length, 2)
  t.is(await quiet.stop(), 0)
  json.server.close()
})

test("a collector that asks for patience gets it; one that refuses loses its batch; the queue is bounded", async (t) => {
  const slow = await collector()
  const busy = await runGateway({ ...config({ endpoint: slow.url, maxQueue: 20, maxBatch: 5 }), workers: 1 })
  const counts = async (): Promise<Record<string, number>> => {
    const text = await (await fetch(`${busy.admin}/metrics`)).text()
    const lines = text.matchAll(/^tidegate_spans_total\{outcome="(\w+)"\} (\d+)$/gm)
    return Object.fromEntries([...lines].map(([, outcome, count]) => [outcome, Number(count)]))
  }
  let asked = 0
  slow.answer = (response) => {
    asked += 1
    response.writeHead(asked === 1 ? 503 : 200, { "retry-after": "0" }).end()
  }
  await get("/things/again", {}, busy.port)
  await spanOf(slow, "/things/again")
  t.is(asked, 2)
  slow.answer = (response) => void response.writeHead(400).end()
  await get("/things/refused", {}, busy.port)
  for (const end = Date.now() + 5_000; ((await counts()).failed ?? 0) < 2 && Date.now() < end; ) await sleep(20)
  t.is((await counts()).failed, 2, "the request and its try")
  t.regex(busy.output(), /spans do not reach .*400/)
  // Nobody answers: what does not fit is dropped, and requests go on.
  slow.answer = () => {}
  for (let count = 0; count < 60; count++) t.is(await get(`/things/${count}`, {}, busy.port), 200)
  for (const end = Date.now() + 5_000; ((await counts()).dropped ?? 0) < 30 && Date.now() < end; ) await sleep(20)
  t.true(((await counts()).dropped ?? 0) >= 30, JSON.stringify(await counts()))
  const began = Date.now()
  t.is(await busy.stop(), 0)
  t.true(Date.now() - began < 9_000, "it does not wait for ever")
  slow.server.closeAllConnections()
  slow.server.close()
})
