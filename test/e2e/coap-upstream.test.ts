/** Upstreams that speak CoAP, asked by HTTP and by CoAP: libcoap's server, and one made here that counts. */
import { type ChildProcess, spawn } from "node:child_process"
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { generate, type ParsedPacket, parse } from "coap-packet"
import { has, type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial

interface Endpoint {
  readonly address: string
  readonly socket: Socket
  readonly seen: ParsedPacket[]
}

type Option = { name: string; value: Buffer }
type Answer = { code: string; options?: Option[]; payload?: Buffer }

/** A server whose answers `answer` makes; the first of each request is lost where it says so. */
async function endpoint(answer: (request: ParsedPacket) => Answer, loses = false): Promise<Endpoint> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1")
  await once(socket, "listening")
  const seen: ParsedPacket[] = []
  const known = new Set<number>()
  socket.on("message", (data, { port }) => {
    const request = parse(data)
    const { messageId, token } = request
    if (request.code === "0.00")
      return socket.send(generate({ reset: true, messageId, code: "0.00" }), port, "127.0.0.1")
    if (loses && !known.has(request.messageId)) return known.add(request.messageId)
    seen.push(request)
    return socket.send(generate({ ack: true, messageId, token, ...answer(request) }), port, "127.0.0.1")
  })
  return { address: `127.0.0.1:${(socket.address() as AddressInfo).port}`, socket, seen }
}

const option = (request: ParsedPacket, name: string): Buffer | undefined =>
  request.options.find((own) => own.name === name)?.value
const path = (request: ParsedPacket): string =>
  request.options
    .filter(({ name }) => name === "Uri-Path")
    .map(({ value }) => value)
    .join("/")

let gateway: Running
let counting: Endpoint
let other: Endpoint
let lossy: Endpoint
let server: ChildProcess | undefined

ava.before(async () => {
  const tag = Buffer.from([1, 2])
  counting = await endpoint((request) => {
    const options: Option[] = [{ name: "ETag", value: tag }]
    if (path(request) === "api/fresh") options.push({ name: "Max-Age", value: Buffer.from([30]) })
    if (path(request) === "api/none") return { code: "4.04", payload: Buffer.from("nothing here") }
    if (path(request) === "api/secret") return { code: "4.01" }
    if (request.code !== "0.01") return { code: "2.04", payload: request.payload ?? Buffer.alloc(0) }
    if (option(request, "ETag")?.equals(tag)) return { code: "2.03", options }
    const json = { name: "Content-Format", value: Buffer.from([50]) }
    return { code: "2.05", options: [...options, json], payload: Buffer.from('{"from":"one"}') }
  })
  other = await endpoint(() => ({ code: "2.05", payload: Buffer.from("two") }))
  lossy = await endpoint(() => ({ code: "2.05", payload: Buffer.from("at last") }), true)
  const free = await endpoint(() => ({ code: "2.05" }))
  const libcoap = free.address
  free.socket.close()
  server = spawn("coap-server-notls", ["-A", "127.0.0.1", "-p", libcoap.split(":")[1] ?? "", "-d", "100"])
  server.on("error", () => {})
  const upstream = (endpoints: string[], more: object = {}): object => ({ protocol: "coap", endpoints, ...more })
  gateway = await runGateway({
    coap: { ackTimeoutMs: 200 },
    upstreams: {
      counting: upstream([counting.address]),
      both: upstream([counting.address, other.address]),
      lossy: upstream([lossy.address]),
      libcoap: upstream([libcoap], { health: { coap: true, intervalMs: 200, fall: 1 } }),
      mixed: upstream([other.address, "127.0.0.1:9"], { health: { coap: true, intervalMs: 100, fall: 1 } }),
    },
    routes: [
      { when: { path: "/api/**" }, to: "counting" },
      { when: { path: "/both" }, to: "both" },
      { when: { path: "/lossy" }, to: "lossy" },
      { when: { path: "/mixed" }, to: "mixed" },
      { when: { path: "/lib/{rest}" }, to: "libcoap", use: [{ rewrite: { path: "/{rest}" } }] },
    ],
  })
})
ava.after.always(async () => {
  await gateway?.stop()
  server?.kill()
  for (const { socket } of [counting, other, lossy]) socket.close()
})

const http = (where: string, init?: RequestInit): Promise<Response> =>
  fetch(`http://127.0.0.1:${gateway.port}${where}`, init)
const coap = (where: string, ...args: string[]) =>
  run("coap-client-notls", ["-B", "4", ...args, `coap://127.0.0.1:${gateway.udpPort}${where}`])

// RFC7252-5.4.4-1 RFC7252-10.2-2
test("a GET by HTTP gets the value with type, tag and age", async (t) => {
  const answer = await http("/api/a%20b?x=1")
  t.is(answer.status, 200)
  t.deepEqual(await answer.json(), { from: "one" })
  t.is(answer.headers.get("content-type"), "application/json")
  t.is(answer.headers.get("etag"), '"0102"')
  t.is(answer.headers.get("cache-control"), "max-age=60")
  const request = counting.seen.at(-1)
  t.true(request?.confirmable)
  t.is(request === undefined ? "" : path(request), "api/a b")
})

test("codes become statuses, and methods what they are", async (t) => {
  t.is((await http("/api/none")).status, 404)
  t.is((await http("/api/secret")).status, 403)
  const put = await http("/api/x", { method: "PUT", body: "21.5", headers: { "content-type": "text/plain" } })
  t.deepEqual([put.status, await put.text()], [200, "21.5"])
  t.is(counting.seen.at(-1)?.code, "0.03")
  t.is((await http("/api/x", { method: "DELETE" })).status, 204)
  t.is((await http("/api/x", { method: "OPTIONS" })).status, 501)
  const head = await http("/api/x", { method: "HEAD" })
  t.deepEqual([head.status, await head.text()], [200, ""])
})

// RFC7252-5.6.2-1 RFC7252-5.10.6-1
test("an answer is used again for its Max-Age, and asked about by its tag", async (t) => {
  // Workers keep answers of their own: by CoAP from one client it is the same one.
  const at = (wanted: string) => counting.seen.filter((request) => path(request) === wanted)
  for (let round = 0; round < 6; round += 1) t.is((await http("/api/fresh")).status, 200)
  t.true(at("api/fresh").length <= 2, "once a worker")
  for (let round = 0; round < 6; round += 1) t.is(await (await http("/api/stale")).text(), '{"from":"one"}')
  t.is(at("api/stale").length, 6)
  t.true(at("api/stale").some((request) => option(request, "ETag") !== undefined))
})

test("endpoints are balanced", async (t) => {
  const answers = await Promise.all(Array.from({ length: 10 }, async () => (await http("/both")).text()))
  t.true(answers.includes("two") && answers.some((answer) => answer.includes("one")))
})

test("a request that is lost is sent again", async (t) => {
  t.is(await (await http("/lossy")).text(), "at last")
})

test("an endpoint that does not answer pings is not asked", async (t) => {
  const check = async (): Promise<string> => (await fetch(`${gateway.admin}/v1/upstreams`)).text()
  for (const end = Date.now() + 5_000; Date.now() < end && !/"unhealthy"/.test(await check()); ) await sleep(50)
  const statuses = await Promise.all(Array.from({ length: 8 }, async () => (await http("/mixed")).status))
  t.deepEqual([...new Set(statuses)], [200])
})

if (has("coap-client-notls", "libcoap3-bin")) {
  test("a client of CoAP gets the code, the format and the age as they were", async (t) => {
    t.regex((await coap("/api/c")).out, /\{"from":"one"\}/)
    t.regex((await coap("/api/none")).out, /4\.04 nothing here/)
    t.regex((await coap("/api/secret")).out, /4\.01/)
    t.regex((await coap("/api/fresh", "-v", "7")).out, /Max-Age:(30|2\d)\b/)
  })

  test("libcoap's server takes a body of many blocks and gives it back by HTTP and by CoAP", async (t) => {
    const body = "0123456789".repeat(700)
    const put = await http("/lib/large", { method: "PUT", body, headers: { "content-type": "text/plain" } })
    t.true([201, 204].includes(put.status), String(put.status))
    t.is(await (await http("/lib/large")).text(), body)
    t.is((await coap("/lib/large")).out.trim(), body)
    await coap("/lib/small", "-m", "put", "-e", "by CoAP")
    t.is(await (await http("/lib/small")).text(), "by CoAP")
    t.regex(await (await http("/lib/time")).text(), /\d\d:\d\d/)
  })
}
