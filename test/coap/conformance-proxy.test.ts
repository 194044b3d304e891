/** Statements of CoAP's specifications about proxies, by number, against raw packets. docs/coap-conformance.md is made of these titles. */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import ava from "ava"
import { generate, type ParsedPacket, parse } from "coap-packet"
import { type Running, runGateway, upstream } from "../e2e/run-gateway.ts"
import { askOnce, type Option, option, path, peer, said, values } from "./peer.ts"

const test = ava.serial
type Answer = { code: string; options?: Option[]; payload?: Buffer }

/** A server of CoAP that answers as `replies` says for a path, and is silent about others. */
const seen: ParsedPacket[] = []
const replies = new Map<string, (request: ParsedPacket) => Answer>()

const FRESHNESS: Record<string, Record<string, string>> = {
  "/web/aged": { "cache-control": "max-age=60", age: "50" },
  "/web/over": { expires: "0" },
  "/web/asked": { "cache-control": "max-age=60, no-cache" },
  "/web/own": { "cache-control": "private, max-age=60" },
}

let origin: Socket
let gateway: Running
let web: Awaited<ReturnType<typeof upstream>>

ava.before(async () => {
  origin = createSocket("udp4").bind(0, "127.0.0.1")
  await once(origin, "listening")
  origin.on("message", (data, { port }) => {
    const request = parse(data)
    seen.push(request)
    const where = request.options.filter(({ name }) => name === "Uri-Path").map(({ value }) => value)
    const answer = replies.get(where.join("/"))?.(request)
    const { messageId, token } = request
    if (answer) origin.send(generate({ ack: true, messageId, token, ...answer }), port, "127.0.0.1")
  })
  web = await upstream(({ url }, response) => {
    if (url === "/web/new") return response.writeHead(201, { location: "/web/a%20b?x=1" }).end()
    const fresh = FRESHNESS[url ?? ""]
    if (fresh) return response.writeHead(200, fresh).end("web")
    const type = url === "/web/text" ? "text/html" : "application/json; charset=utf-8"
    return response.writeHead(200, url === "/web" ? {} : { "content-type": type }).end("web")
  })
  const address = `127.0.0.1:${(origin.address() as AddressInfo).port}`
  gateway = await runGateway({
    coap: { ackTimeoutMs: 100, maxRetransmit: 1, nstart: 16 },
    listeners: [
      { address: "tcp://127.0.0.1:0", protocols: "detect" },
      { address: "udp://127.0.0.1:0", protocols: ["coap"] },
    ],
    upstreams: { origin: { protocol: "coap", endpoints: [address] }, web: { endpoints: [web.address] } },
    routes: [
      { when: { path: "/o/**" }, to: "origin" },
      { when: { path: "/web/**" }, to: "web" },
      { when: { path: "/said" }, to: { respond: { status: 200, body: "said" } } },
    ],
  })
})
ava.after.always(async () => {
  await gateway?.stop()
  origin?.close()
  web?.server.close()
})

const ask = (packet: object, timeoutMs?: number) => askOnce(gateway.udpPort, packet, timeoutMs)

test("a proxy passes on what it does not know and may: RFC7252-5.7.1-5 RFC7252-5.7.1-6 RFC7252-5.7.1-8 RFC7252-5.4.2-1", async (t) => {
  const back = [option(2_048, "a"), option(2_057, "b"), option("Location-Path", "new")]
  replies.set("o/pass", () => ({ code: "2.01", options: back }))
  const answer = await ask({ code: "0.02", options: [...path("o/pass"), option(2_048, "x"), option(2_057, [1, 2])] })
  t.deepEqual([values(seen.at(-1), 2_048), values(seen.at(-1), 2_057)], [["78"], ["0102"]])
  t.is(answer?.code, "2.01")
  t.deepEqual(
    [2_048, 2_057, "Location-Path"].map((name) => values(answer, name)),
    [["61"], ["62"], ["6e6577"]],
  )
})

test("a proxy refuses what it does not know and may not pass on: RFC7252-5.7.1-4 RFC7252-5.7.1-7", async (t) => {
  const before = seen.length
  for (const number of [2_050, 2_051]) {
    const answer = await ask({ code: "0.01", options: [...path("o/pass"), option(number, "x")] })
    t.is(said(answer), `4.02 option ${number}`)
  }
  t.is(seen.length, before)
  replies.set("o/unsafe", () => ({ code: "2.05", options: [option(2_050, "x")], payload: Buffer.from("x") }))
  t.is((await ask({ code: "0.01", options: path("o/unsafe") }))?.code, "5.02")
})

test("who takes a request rejects a critical option, wherever it goes: RFC7252-5.4.1-2 RFC7252-5.4.1-5", async (t) => {
  for (const where of ["t/x", ".well-known/core", "web", "none"]) {
    const options = [...path(where), option(2_057, "x")]
    t.is(said(await ask({ code: "0.01", options })), "4.02 option 2057", where)
    t.is(await ask({ code: "0.01", options, confirmable: false }, 300), null, where)
  }
  // HTTP has no place for what is critical in an answer.
  replies.set("o/critical", () => ({ code: "2.05", options: [option(2_057, "x")], payload: Buffer.from("x") }))
  t.is((await fetch(`http://127.0.0.1:${gateway.port}/o/critical`)).status, 502)
})

test("an origin that is silent is 5.04: RFC7252-5.7.1-1", async (t) => {
  t.is((await ask({ code: "0.01", options: path("o/silent") }))?.code, "5.04")
})

test("a response that cannot be processed is 5.02: RFC7252-5.7.1-2", async (t) => {
  replies.set("o/broken", () => ({
    code: "2.05",
    options: [option("Block2", [0, 0, 0, 1])],
    payload: Buffer.from("x"),
  }))
  t.is((await ask({ code: "0.01", options: path("o/broken") }))?.code, "5.02")
})

test("2.03 where nobody asked by a tag cannot be processed either: RFC7252-5.7.1-2 RFC7252-5.9.1-3", async (t) => {
  replies.set("o/valid", () => ({ code: "2.03", options: [option("ETag", "tag")] }))
  t.is((await ask({ code: "0.01", options: path("o/valid") }))?.code, "5.02")
  t.is((await fetch(`http://127.0.0.1:${gateway.port}/o/valid`)).status, 502)
})

test("a diagnostic payload gets no format on its way, and a location of dots is none: RFC7252-5.10.7-2", async (t) => {
  replies.set("o/diagnosis", () => ({ code: "4.04", payload: Buffer.from("nothing here") }))
  const answer = await ask({ code: "0.01", options: path("o/diagnosis") })
  t.deepEqual([said(answer), values(answer, "Content-Format")], ["4.04 nothing here", []])
  const http = await fetch(`http://127.0.0.1:${gateway.port}/o/diagnosis`)
  t.deepEqual([http.status, http.headers.get("content-type")], [404, "text/plain;charset=utf-8"])
  const dots = ["..", "a"].map((part) => option("Location-Path", part))
  replies.set("o/dots", () => ({ code: "2.01", options: dots }))
  const created = await fetch(`http://127.0.0.1:${gateway.port}/o/dots`, { method: "POST", body: "x" })
  t.deepEqual([created.status, created.headers.get("location")], [201, null])
})

test("what was changed through the gateway is not fresh any more: RFC7252-5.9.1-1 RFC7252-5.9.1-2 RFC7252-5.9.1-5 RFC7252-5.10.7-1", async (t) => {
  let state = 0
  replies.set("o/state", (request) => {
    if (request.code === "0.01")
      return { code: "2.05", options: [option("Max-Age", [60])], payload: Buffer.from(`${state}`) }
    state += 1
    return { code: request.code === "0.04" ? "2.02" : "2.04" }
  })
  const get = async (): Promise<string> => said(await ask({ code: "0.01", options: path("o/state") }))
  // Both workers have it: addresses decide which of them is asked.
  for (let times = 0; times < 12; times += 1) t.is(await get(), "2.05 0")
  t.true(seen.filter((own) => own.code === "0.01" && values(own, "Uri-Path").includes("7374617465")).length <= 2)
  for (const code of ["0.03", "0.02", "0.04"]) {
    await ask({ code, options: path("o/state"), payload: Buffer.from("x") })
    for (let times = 0; times < 12; times += 1) t.is(await get(), `2.05 ${state}`, code)
  }
  replies.set("o/list", () => ({
    code: "2.01",
    options: [option("Location-Path", "o"), option("Location-Path", "state")],
  }))
  const before = seen.length
  await ask({ code: "0.02", options: path("o/list") })
  await get()
  t.is(seen.length, before + 2, "what a Location-Path names was asked for anew")
})

test("a response is as fresh as its origin said, less the time it was kept: RFC7252-5.6-1 RFC7252-5.7.1-3", async (t) => {
  replies.set("o/aged", () => ({ code: "2.05", options: [option("Max-Age", [9])], payload: Buffer.from("x") }))
  replies.set("o/zero", () => ({
    code: "2.05",
    options: [option("Max-Age", [])],
    payload: Buffer.from(`${seen.length}`),
  }))
  const one = await peer(gateway.udpPort)
  await one.ask({ code: "0.01", options: path("o/aged") })
  await new Promise((go) => setTimeout(go, 1_100))
  const kept = await one.ask({ code: "0.01", options: path("o/aged") })
  t.true(Number.parseInt(values(kept, "Max-Age")[0] ?? "63", 16) < 9)
  const first = said(await one.ask({ code: "0.01", options: path("o/zero") }))
  t.not(said(await one.ask({ code: "0.01", options: path("o/zero") })), first)
  one.socket.close()
})

test("what is there in another format only is 4.06, whoever has it: RFC7252-5.10.4-1", async (t) => {
  const get = async (where: string, accept?: number[]): Promise<string> => {
    const wanted = accept ? [option("Accept", accept)] : []
    return said(await ask({ code: "0.01", options: [...path(where), ...wanted] }))
  }
  const other = "4.06 there is another Content-Format only"
  t.deepEqual(
    [await get("web/json", [50]), await get("web/json", [60]), await get("web/json")],
    ["2.05 web", other, "2.05 web"],
  )
  t.deepEqual(
    [await get("web/text", []), await get("web/text"), await get("web", [60])],
    [other, "2.05 web", "2.05 web"],
  )
  t.deepEqual([await get("said", []), await get("said", [50])], ["2.05 said", other])
})

test("a type with its charset has its number, and what HTTP has created is named", async (t) => {
  t.deepEqual(values(await ask({ code: "0.01", options: path("web/json") }), "Content-Format"), ["32"])
  const created = await ask({ code: "0.02", options: path("web/new"), payload: Buffer.from("x") })
  const text = (hex: string): string => String(Buffer.from(hex, "hex"))
  t.deepEqual(
    [created?.code, values(created, "Location-Path").map(text), values(created, "Location-Query").map(text)],
    ["2.01", ["web", "a b"], ["x=1"]],
  )
})

const web8075 = (where: string, init?: RequestInit): Promise<Response> =>
  fetch(`http://127.0.0.1:${gateway.port}/o/${where}`, init)

test("Accept is tried by its worth until something is acceptable: RFC8075-6.1-2 RFC8075-6.1-3 RFC8075-6.1-4", async (t) => {
  const wanted = new Map<string, number>([
    ["text", 0],
    ["json", 50],
  ])
  for (const [kind, format] of wanted) {
    replies.set(`o/${kind}`, (request) => {
      const accept = values(request, "Accept")[0]
      if (accept !== undefined && Number.parseInt(accept || "0", 16) !== format) return { code: "4.06" }
      return {
        code: "2.05",
        options: [option("Content-Format", format === 0 ? [] : [format])],
        payload: Buffer.from("x"),
      }
    })
  }
  const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
  const asked = async (kind: string, accept: string, method = "GET"): Promise<[number, (string | undefined)[]]> => {
    const before = seen.length
    const body = method === "GET" ? undefined : "x"
    const { status } = await web8075(kind, { method, headers: { accept }, ...(body === undefined ? {} : { body }) })
    return [status, seen.slice(before).map((request) => values(request, "Accept")[0])]
  }
  t.deepEqual(await asked("text", "*/*"), [200, [undefined]])
  t.deepEqual(await asked("text", browser), [200, ["29", undefined]])
  t.deepEqual(await asked("text", "image/webp, text/html"), [200, [undefined]])
  t.deepEqual(await asked("json", "application/json;q=0.5, application/cbor"), [200, ["3c", "32"]])
  t.deepEqual(await asked("text", "application/json;q=0.5, application/cbor"), [406, ["3c", "32"]])
  t.deepEqual(await asked("json", "text/plain;q=0.1, application/json;q=0.9"), [200, ["32"]])
  // What changes something is asked for once.
  t.deepEqual(await asked("text", "application/json, */*", "POST"), [200, [undefined]])
  t.deepEqual(await asked("text", "application/json, text/plain", "POST"), [406, ["32"]])
})

test("codes and codings of HTTP and CoAP: RFC8075-6.1-1 RFC8075-6.2-1 RFC8075-6.5.3-1 RFC8075-7-2 RFC8075-7-3 RFC7252-5.9-1", async (t) => {
  const answers = (where: string, answer: Answer): void => void replies.set(`o/${where}`, () => answer)
  answers("option", { code: "4.02", payload: Buffer.from("strange\r\nx: y") })
  const blamed = await web8075("option", { headers: { accept: "application/json" } })
  const ours = await web8075("option", { headers: { accept: "*/*" } })
  t.deepEqual([blamed.status, ours.status, await ours.text()], [400, 500, "strange\r\nx: y"])
  t.notRegex(ours.statusText, /strange/)
  answers("method", { code: "4.05" })
  const refused = await web8075("method")
  t.is(refused.status, 400)
  t.regex(refused.statusText, /^CoAP server returned 4\.05/)
  answers("later", { code: "4.30" })
  answers("worse", { code: "5.30" })
  t.deepEqual([(await web8075("later")).status, (await web8075("worse")).status], [400, 500])
  // Who asks by CoAP is told the code as it is.
  t.is((await ask({ code: "0.01", options: path("o/later") }))?.code, "4.30")
  answers("number", { code: "2.05", options: [option("Content-Format", [0xfd, 0xe8])], payload: Buffer.from("x") })
  t.is((await web8075("number")).headers.get("content-type"), "application/coap-payload;cf=65000")
  const before = seen.length
  const packed = {
    method: "PUT",
    body: "x",
    headers: { "content-encoding": "gzip", "content-type": "application/json" },
  }
  t.is((await web8075("option", packed)).status, 415)
  t.is(seen.length, before, "the endpoint never sees it")
})

test("an answer of HTTP is as fresh as it says: RFC7252-10.1-1", async (t) => {
  const age = async (where: string): Promise<string | undefined> =>
    values(await ask({ code: "0.01", options: path(`web/${where}`) }), "Max-Age")[0]
  t.deepEqual(
    [await age("aged"), await age("over"), await age("asked"), await age("own"), await age("text")],
    ["0a", "", "", "", undefined],
  )
})
