/** The gateway as a forward proxy of CoAP: libcoap and aiocoap ask it for hosts elsewhere, and plain datagrams try to get further. */
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import ava from "ava"
import { generate, type ParsedPacket, parse } from "coap-packet"
import { freePort } from "../free-port.mjs"
import { hasAiocoap, python } from "./aiocoap/python.ts"
import { has, type Running, run, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
type Option = { name: string; value: Buffer }

/** A server that says what it was asked. */
async function origin(): Promise<{ address: string; socket: Socket; seen: ParsedPacket[] }> {
  const socket = createSocket("udp4").bind(0, "127.0.0.1")
  await once(socket, "listening")
  const seen: ParsedPacket[] = []
  socket.on("message", (data, { port }) => {
    const request = parse(data)
    seen.push(request)
    const { messageId, token } = request
    const looped = values(request, "Uri-Path").join("/") === "loop"
    const payload = Buffer.from(looped ? "elsewhere" : describe(request))
    socket.send(generate({ ack: true, messageId, token, code: looped ? "5.08" : "2.05", payload }), port, "127.0.0.1")
  })
  return { address: `127.0.0.1:${(socket.address() as AddressInfo).port}`, socket, seen }
}

const values = (packet: ParsedPacket, name: string): Buffer[] =>
  packet.options.filter((own) => own.name === name).map(({ value }) => value)
const uint = (value: Buffer | undefined): number | undefined => value?.reduce((sum, byte) => sum * 256 + byte, 0)

/** `host:port/path?query`, as its options say it. */
function describe(packet: ParsedPacket): string {
  const of = (name: string): string[] => values(packet, name).map(String)
  const port = uint(values(packet, "Uri-Port")[0])
  const host = `${of("Uri-Host")[0] ?? ""}${port === undefined ? "" : `:${port}`}`
  return `${host}/${of("Uri-Path").join("/")}${of("Uri-Query")
    .map((value, at) => (at === 0 ? "?" : "&") + value)
    .join("")}`
}

let gateway: Running
let closed: Running
let sensor: Awaited<ReturnType<typeof origin>>
let web: Awaited<ReturnType<typeof upstream>>

ava.before(async () => {
  sensor = await origin()
  web = await upstream((request, response) => {
    response.end(`${request.method} ${request.headers.host}${request.url}`)
  })
  const config = {
    coap: { forwardProxy: true, ownHosts: ["gate.example"] },
    upstreams: {
      sensor: { protocol: "coap", endpoints: [sensor.address] },
      web: { endpoints: [web.address] },
    },
    routes: [
      { when: { host: "*.plant.example" }, to: "sensor" },
      { when: { host: "odd.example:7777" }, to: "sensor" },
      { when: { host: "[2001:db8::1]" }, to: "sensor" },
      { when: { host: "web.example" }, to: "web" },
      { when: { path: "/open/**" }, to: "sensor", priority: 10 },
    ],
  }
  gateway = await runGateway(config)
  closed = await runGateway({ ...config, coap: {} })
})
ava.after.always(async () => {
  await Promise.all([gateway?.stop(), closed?.stop()])
  sensor?.socket.close()
  web?.server.close()
})

let messageId = 1
interface Asked {
  readonly options: Option[]
  readonly code?: string
  readonly confirmable?: boolean
  readonly to?: Running
}

/** The answer to a datagram; null: none within `timeoutMs`. */
async function ask({ options, code = "0.01", confirmable = true, to = gateway }: Asked, timeoutMs = 5_000) {
  const socket = createSocket("udp4").bind(0, "127.0.0.1")
  await once(socket, "listening")
  messageId += 1
  const packet = generate({ code, confirmable, messageId, token: Buffer.from("tk"), options })
  socket.send(packet, to.udpPort, "127.0.0.1")
  const timer = new Promise<null>((resolve) => setTimeout(resolve, timeoutMs, null))
  const answer = await Promise.race([once(socket, "message"), timer])
  socket.close()
  return answer === null ? null : parse(answer[0] as Buffer)
}

const proxyUri = (uri: string | Buffer): Option => ({ name: "Proxy-Uri", value: Buffer.from(uri) })
const option = (name: string, value: string | Buffer): Option => ({ name, value: Buffer.from(value) })
const outcome = async (...options: Option[]): Promise<string> => {
  const answer = await ask({ options })
  return `${answer?.code} ${answer?.payload}`
}

if (has("coap-client-notls", "libcoap3-bin")) {
  const client = (uri: string, ...args: string[]) =>
    run("coap-client-notls", ["-B", "4", "-P", `coap://127.0.0.1:${gateway.udpPort}`, ...args, uri])

  test("libcoap asks for a host elsewhere, which is told whose resource is wanted", async (t) => {
    const { out } = await client("coap://t1.plant.example/a%20b/c?x=1&y=%26")
    t.is(out.trim(), "t1.plant.example/a b/c?x=1&y=&")
    const put = await client("coap://t2.plant.example/set", "-m", "put", "-e", "22.0")
    t.is(put.out.trim(), "t2.plant.example/set")
    t.deepEqual([sensor.seen.at(-1)?.code, String(sensor.seen.at(-1)?.payload)], ["0.03", "22.0"])
  })

  test("libcoap asks for what is nobody's", async (t) => {
    t.regex((await client("coap://unknown.example/a")).out, /5\.05 no route names this host/)
  })
}

if (hasAiocoap()) {
  test("aiocoap asks by Proxy-Scheme, and for a server of HTTP", async (t) => {
    const program = python("proxied.py", [`127.0.0.1:${gateway.udpPort}`])
    t.teardown(() => program.child.kill())
    t.true(await program.tell("coap://t3.plant.example/a/b?q", /2\.05 Content t3\.plant\.example\/a\/b\?q\n/))
    t.true(await program.tell("http://web.example/x?y=1", /2\.05 Content GET web\.example\/x\?y=1\n/))
    t.true(await program.tell("coap://unknown.example/", /5\.05 [\w ]+ no route names this host\n/))
  })
}

// RFC7252-5.10.2-2
test("by Proxy-Uri a host is reached that a route names, with its port where it is not the scheme's", async (t) => {
  t.is(await outcome(proxyUri("coap://A.Plant.Example:5683/x/../y?z")), "2.05 a.plant.example/y?z")
  t.is(await outcome(proxyUri("coap://odd.example:7777/")), "2.05 odd.example:7777/")
  t.is(await outcome(proxyUri("coap://[2001:DB8::0:1]/v6")), "2.05 [2001:db8::1]/v6")
  t.is(await outcome(proxyUri("http://web.example:80/w")), "2.05 GET web.example/w")
  const mixed = [option("Uri-Host", "unknown.example"), option("Uri-Path", "z"), proxyUri("coap://b.plant.example/x")]
  t.is(await outcome(...mixed), "2.05 b.plant.example/x", "it takes precedence over the Uri options")
})

// RFC7252-5.7.2-1
test("it is no open proxy: whatever no route names by host and port is 5.05, and nobody is asked", async (t) => {
  const before = sensor.seen.length
  for (const uri of [
    "coap://unknown.example/open/a",
    `coap://${sensor.address}/open/a`,
    "coap://a.plant.example:7777/open/a",
    "coap://odd.example/open/a",
    "coap://plant.example/",
    "coap://127.0.0.1:1/open/a",
    "coap://169.254.169.254/latest/meta-data",
    "http://a.plant.example:8080/open",
    "coap://a%0d%0ax.plant.example/open/a",
    "coap://a%00.plant.example/open/a",
  ])
    t.is(await outcome(proxyUri(uri)), "5.05 no route names this host", uri)
  const scheme = option("Proxy-Scheme", "coap")
  t.is(
    await outcome(scheme, option("Uri-Host", "unknown.example"), option("Uri-Path", "open")),
    "5.05 no route names this host",
  )
  for (const uri of ["ftp://a.plant.example/", "urn:a:b"]) t.regex(await outcome(proxyUri(uri)), /^5\.05 a scheme/, uri)
  t.is(sensor.seen.length, before)
})

test("what is no absolute URI is 4.02, and a non-confirmable one gets no answer", async (t) => {
  const before = sensor.seen.length
  for (const uri of [
    "x",
    "/x",
    "coap:///x",
    "coap://u@a.plant.example/",
    "coap://a.plant.example/#f",
    "coap://a.plant.example/%zz",
  ])
    t.regex(await outcome(proxyUri(uri)), /^4\.02 no absolute URI: /, uri)
  for (const uri of ["coap://a.plant.example/%2e%2e/x", "coap://a.plant.example:65536/", Buffer.from([0xff, 0xfe])])
    t.regex(await outcome(proxyUri(uri)), /^4\.02 /, String(uri))
  const twice = [proxyUri("coap://a.plant.example/"), proxyUri("coap://a.plant.example/")]
  t.regex(await outcome(...twice), /^4\.02/)
  t.regex(await outcome(proxyUri(`coap://a.plant.example/${"x/".repeat(600)}`)), /^4\.02/)
  t.is(await ask({ options: [proxyUri("x")], confirmable: false }, 500), null)
  t.is(sensor.seen.length, before)
})

// RFC7252-5.7.2-2 RFC7252-5.10.2-1
test("what names the gateway itself is an ordinary request", async (t) => {
  const own = `127.0.0.1:${gateway.udpPort}`
  t.is((await ask({ options: [proxyUri(`coap://${own}/t/own`)], code: "0.03" }))?.code, "2.04")
  for (const uri of [`coap://${own}/.well-known/core`, "coap://gate.example/.well-known/core"])
    t.regex(await outcome(proxyUri(uri)), /^2\.05 <\/t>/, uri)
  const path = [option("Uri-Path", ".well-known"), option("Uri-Path", "core")]
  t.regex(await outcome(option("Proxy-Scheme", "coap"), ...path), /^2\.05 <\/t>/, "it names no host")
  // What any host reaches is reached by name, too.
  t.is(await outcome(proxyUri("coap://gate.example/open/a")), "2.05 /open/a")
  t.is((await ask({ options: [proxyUri("coap://gate.example/none")] }))?.code, "4.04")
})

// RFC8768-3-1 RFC8768-3-2 RFC8768-3-3 RFC8768-4-1
test("a request that has no limit gets one, each hop counts, and the last one says who it was", async (t) => {
  const hops = (value: number): Option => option("Hop-Limit", Buffer.from([value]))
  await ask({ options: [proxyUri("coap://a.plant.example/x")] })
  t.is(uint(values(sensor.seen.at(-1) as ParsedPacket, "Hop-Limit")[0]), 16)
  await ask({ options: [hops(3), proxyUri("coap://a.plant.example/x")] })
  t.is(uint(values(sensor.seen.at(-1) as ParsedPacket, "Hop-Limit")[0]), 2)
  t.is(await outcome(hops(1), proxyUri("coap://a.plant.example/x")), "5.08 tidegate")
  t.is((await ask({ options: [hops(0), proxyUri("coap://a.plant.example/x")] }))?.code, "4.00")
  t.is(await outcome(proxyUri("coap://a.plant.example/loop")), "5.08 tidegate elsewhere")
})

// RFC7252-5.7.2-1
test("where it is off every such request is 5.05 and says why", async (t) => {
  for (const options of [
    [proxyUri("coap://a.plant.example/x")],
    [proxyUri("nonsense")],
    [proxyUri(`coap://127.0.0.1:${closed.udpPort}/.well-known/core`)],
    [option("Proxy-Scheme", "coap"), option("Uri-Path", "x")],
  ]) {
    const answer = await ask({ options, to: closed })
    t.deepEqual([answer?.code, String(answer?.payload)], ["5.05", "no forward proxy (coap.forwardProxy)"])
  }
})

// RFC8768-4-1
test("a loop ends: a gateway that is its own upstream uses up the hops", async (t) => {
  const port = await freePort("udp")
  const looping = await runGateway({
    coap: { forwardProxy: true, hopLimit: 4, nstart: 8, ackTimeoutMs: 20_000 },
    listeners: [{ address: `udp://127.0.0.1:${port}`, protocols: ["coap"] }],
    upstreams: { self: { protocol: "coap", endpoints: [`127.0.0.1:${port}`] } },
    routes: [
      { when: { host: "a.example" }, to: "self" },
      { when: { path: "/x" }, to: "self" },
    ],
  })
  const answer = await ask({ options: [proxyUri("coap://a.example/x")], to: looping })
  await looping.stop()
  t.deepEqual([answer?.code, String(answer?.payload)], ["5.08", "tidegate tidegate tidegate tidegate tidegate"])
})
