/** An identity that ends with time ends every session that it has, whatever its protocol; and nothing outlives it. */
import { createHmac } from "node:crypto"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import anyTest, { type TestFn } from "ava"
import { WebSocket } from "ws"
import { hasMosquitto, mosquitto } from "./mosquitto.ts"
import { counted, RawClient, start } from "./raw.ts"

const test = anyTest
const testMosquitto = (hasMosquitto || process.env.CI ? anyTest : anyTest.skip) as TestFn

const SECRET = "between us"
const part = (data: object): string => Buffer.from(JSON.stringify(data)).toString("base64url")
const seconds = (): number => Math.floor(Date.now() / 1_000)

function token(claims: object): string {
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`
}

/** Ends after 2 to 3 s. */
const short = () => ({ authorization: `Bearer ${token({ sub: "ann", exp: seconds() + 3 })}` })
const long = () => ({ authorization: `Bearer ${token({ sub: "ann", exp: seconds() + 600 })}` })
const listeners = [{ address: "tcp://127.0.0.1:0", anonymous: false }]

test("a JSON WebSocket is closed with 1008, one with a longer token is not", async (t) => {
  const target = await start(t, { listeners, auth: { jwt: { secret: SECRET } } })
  const open = async (headers: Record<string, string>) => {
    const socket = new WebSocket(`ws://127.0.0.1:${target.port}/`, "tidegate.v1.json", { headers })
    await once(socket, "open")
    socket.send(JSON.stringify({ type: "subscribe", id: 1, filter: "a/#" }))
    const [data] = await once(socket, "message")
    t.like(JSON.parse(String(data)), { type: "ack", id: 1 })
    return socket
  }
  const [ends, stays] = await Promise.all([open(short()), open(long())])
  const [code, why] = await once(ends, "close")
  t.deepEqual([code, String(why)], [1008, "the identity has ended"])
  t.is(stays.readyState, WebSocket.OPEN)
  t.is(counted(target, "tidegate_auth_total", { outcome: "expired" }), 1)
  stays.close()
})

test("an event stream ends whole, and who comes again is asked for a user", async (t) => {
  const target = await start(t, { listeners, auth: { jwt: { secret: SECRET } } })
  const url = `http://127.0.0.1:${target.port}/t/a/+`
  const headers = { accept: "text/event-stream", ...short() }
  const began = Date.now()
  const answer = await fetch(url, { headers })
  t.is(answer.status, 200)
  await target.gateway.publish("a/1", "before")
  t.regex(await answer.text(), /data: before/)
  t.true(Date.now() - began < 6_000)
  // Clocks may differ by 5 s; until then a new stream may begin, which ends at once.
  for (let status = 200; status !== 401; await sleep(200)) {
    t.true(Date.now() - began < 12_000)
    const again = await fetch(url, { headers })
    await again.text()
    status = again.status
  }
  t.true(counted(target, "tidegate_auth_total", { outcome: "expired" }) >= 1)
})

test("a CoAP observer on a WebSocket is told by an Abort, and its observation is gone", async (t) => {
  const target = await start(t, { listeners, auth: { jwt: { secret: SECRET } } })
  const socket = new WebSocket(`ws://127.0.0.1:${target.port}/.well-known/coap`, "coap", { headers: short() })
  const messages: Buffer[] = []
  socket.on("message", (data: Buffer) => messages.push(data))
  await once(socket, "open")
  socket.send(Buffer.from([0x00, 0xe1]))
  // GET with Observe 0 of /t/a, token 0x77.
  socket.send(Buffer.from([0x01, 0x01, 0x77, 0x60, 0x51, 0x74, 0x01, 0x61]))
  await target.gateway.publish("a", "first", { retain: true })
  while (!messages.some((message) => message.includes("first"))) await once(socket, "message")
  await once(socket, "close")
  const abort = messages.at(-1)
  t.is(abort?.[1], 0xe5, "7.05 Abort")
  t.true(abort?.includes("the identity has ended"))
  t.is(counted(target, "tidegate_auth_total", { outcome: "expired" }), 1)
})

testMosquitto("a proxied client is told 0xA0", async (t) => {
  const behind = await mosquitto(t)
  const target = await start(t, {
    listeners,
    auth: { jwt: { secret: SECRET } },
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind.port}`] } },
    routes: [{ when: { protocol: "mqtt" }, to: "brokers" }],
  })
  const login = { username: "ann", password: Buffer.from(token({ sub: "ann", exp: seconds() + 3 })) }
  const { client, connack } = await RawClient.connect(target, login)
  t.like(connack, { reasonCode: 0 })
  t.deepEqual(await client.closed(6_000), { closed: true, code: 0xa0 })
})
