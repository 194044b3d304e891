/** CoAP over TCP and WebSocket (RFC 8323) on the shared port, by libcoap and by hand. */
import { once } from "node:events"
import { connect } from "node:net"
import ava from "ava"
import { WebSocket } from "ws"
import { has, type Running, run, runGateway, start, upstream } from "./run-gateway.ts"

const test = ava.serial
let gateway: Running

ava.before(async () => {
  gateway = await runGateway({
    routes: [{ when: { protocol: "coap", path: "/ping" }, to: { respond: { status: 200, body: "pong" } } }],
  })
})
ava.after.always(() => gateway?.stop())

const CSM = Buffer.from([0x00, 0xe1])

/** GET of a path with one token byte; lengths stay below 13 bytes. */
function get(path: string, isFramed: boolean): Buffer {
  const options = Buffer.concat([Buffer.from([0xb0 | path.length]), Buffer.from(path)])
  return Buffer.concat([Buffer.from([((isFramed ? options.length : 0) << 4) | 1, 0x01, 0x77]), options])
}

if (has("coap-client-notls", "libcoap3-bin")) {
  const client = (...args: string[]) => run("coap-client-notls", args)
  const url = (path: string) => `coap+tcp://127.0.0.1:${gateway.port}${path}`

  test("libcoap publishes, reads, and finds routes over TCP on the port of all protocols", async (t) => {
    await client("-m", "put", "-e", "21.5", url("/t/tcp/a"))
    t.is((await client(url("/t/tcp/a"))).out.trim(), "21.5")
    t.regex((await client(url("/.well-known/core"))).out, /<\/t>;rt="tidegate.topic"/)
    t.is((await client(url("/ping"))).out.trim(), "pong")
  })

  test("a body of many blocks goes both ways", async (t) => {
    const body = "0123456789".repeat(3_000)
    await client("-m", "put", "-e", body, url("/t/tcp/large"))
    t.is((await client(url("/t/tcp/large"))).out.trim(), body)
    t.is((await client("-b", "256", url("/t/tcp/large"))).out.trim(), body)
  })

  test("an observer over TCP hears what MQTT publishes", async (t) => {
    const observer = start("coap-client-notls", ["-s", "10", url("/t/tcp/o")])
    await client("-m", "put", "-e", "first", url("/t/tcp/o"))
    t.true(await observer.saw(/first/), observer.out())
    await run("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(gateway.port), "-t", "tcp/o", "-m", "second", "-r"])
    t.true(await observer.saw(/second/), observer.out())
    observer.child.kill()
  })
}

test("a message may come in any pieces, and rules are kept by an Abort", async (t) => {
  const socket = connect(gateway.port, "127.0.0.1")
  await once(socket, "connect")
  let seen = Buffer.alloc(0)
  socket.on("data", (data) => {
    seen = Buffer.concat([seen, data])
  })
  for (const byte of Buffer.concat([CSM, get("ping", true)])) {
    socket.write(Buffer.from([byte]))
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  while (!seen.includes("pong")) await once(socket, "data")
  t.is(seen[1], 0xe1, "the gateway's CSM comes first")
  // A second CSM is fine; a critical option in it that nobody knows is not.
  socket.write(Buffer.from([0x00, 0xe1, 0x10, 0xe1, 0x90]))
  await once(socket, "end")
  t.true(seen.includes("critical option that is not understood"))
})

test("a WebSocket with the subprotocol coap is a CoAP client", async (t) => {
  const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/.well-known/coap`, "coap")
  const messages: Buffer[] = []
  socket.on("message", (data: Buffer) => messages.push(data))
  await once(socket, "open")
  t.is(socket.protocol, "coap")
  socket.send(CSM)
  socket.send(get("ping", false))
  while (!messages.some((message) => message.includes("pong"))) await once(socket, "message")
  t.is(messages[0]?.[0], 0x00, "no length stands in a WebSocket message")
  t.is(messages[0]?.[1], 0xe1)
  socket.send("text")
  const [code] = await once(socket, "close")
  t.is(code, 1003)
})

test("a gateway that leaves releases its peers", async (t) => {
  const other = await runGateway({ drain: { timeoutMs: 1_000 } })
  const socket = connect(other.port, "127.0.0.1")
  await once(socket, "connect")
  socket.write(CSM)
  await once(socket, "data")
  const released = once(socket, "data")
  const ended = once(socket, "end")
  const stopped = other.stop()
  const [data] = (await released) as [Buffer]
  t.true(data.includes(Buffer.from([0x00, 0xe4])), data.toString("hex"))
  await ended
  t.is(await stopped, 0)
})

// RFC8323-5.5-2
test("who releases the connection gets what was asked before", async (t) => {
  const slow = await upstream((_, response) => setTimeout(() => response.end("late"), 300))
  const other = await runGateway({
    upstreams: { slow: { endpoints: [slow.address] } },
    routes: [{ when: { path: "/slow" }, to: "slow" }],
  })
  const socket = connect(other.port, "127.0.0.1")
  let seen = ""
  socket.on("data", (data) => {
    seen += data.toString("latin1")
  })
  socket.write(Buffer.concat([CSM, get("slow", true), Buffer.from([0x00, 0xe4])]))
  await once(socket, "end")
  t.regex(seen, /late$/)
  await other.stop()
  slow.server.close()
})

test("who has said all he has to say still gets his answers, and one that is not sent ends it, too", async (t) => {
  const slow = await upstream((_, response) => setTimeout(() => response.end("late"), 300))
  const other = await runGateway({
    upstreams: { slow: { endpoints: [slow.address] } },
    routes: [{ when: { path: "/slow" }, to: "slow" }],
  })
  const asked = get("slow", true)
  // The same with No-Response for 2.xx (RFC 7967): option 258, value 2.
  const silently = Buffer.concat([
    Buffer.from([asked.readUInt8(0) + 0x30]),
    asked.subarray(1),
    Buffer.from([0xd1, 0xea, 2]),
  ])
  for (const [request, expected] of [
    [asked, /late$/],
    [Buffer.concat([asked, asked]), /late.*late$/],
    [silently, /^(?!.*late)/s],
  ] as const) {
    const socket = connect({ port: other.port, host: "127.0.0.1", allowHalfOpen: true })
    let seen = ""
    socket.on("data", (data) => {
      seen += data.toString("latin1")
    })
    const began = Date.now()
    socket.end(Buffer.concat([CSM, request]))
    await once(socket, "end")
    t.regex(seen, expected)
    t.true(Date.now() - began >= 250, "not before the answer")
    t.true(Date.now() - began < 5_000)
  }
  // Who has nothing to wait for is let go at once.
  const idle = connect({ port: other.port, host: "127.0.0.1", allowHalfOpen: true })
  idle.end(CSM)
  idle.resume()
  await once(idle, "end")
  await other.stop()
  slow.server.close()
  t.pass()
})
