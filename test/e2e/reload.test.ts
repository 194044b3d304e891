/**
 * A change of the configuration disturbs nobody whom it does not concern: 200 mixed
 * streams live through 100 applies, and each still receives afterwards.
 */
import { createSocket, type Socket as UdpSocket } from "node:dgram"
import { connect as connectTcp, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import mqtt, { type MqttClient } from "mqtt"
import { WebSocket } from "ws"
import { exchange, listeners, type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
const EACH = 50
let open: Stream[] = []
const APPLIES = 100
let gateway: Running
let api: Awaited<ReturnType<typeof upstream>>

ava.before(async () => {
  api = await upstream((_, response) => response.end("hello"))
  gateway = await runGateway(config(0))
})
ava.after.always(async () => {
  for (const stream of open) stream.close()
  open = []
  await gateway?.stop()
  api?.server.close()
  api?.server.closeAllConnections()
})

function config(version: number): object {
  return {
    upstreams: { api: { endpoints: [api.address] } },
    routes: [
      { when: { path: "/api/**" }, to: "api" },
      { when: { path: "/version" }, to: { respond: { status: 200, body: `v${version}` } } },
      { when: { path: `/only/${version}` }, to: "api" },
    ],
  }
}

async function put(body: unknown): Promise<Response> {
  return fetch(`${gateway.admin}/v1/config`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  })
}

/** A subscriber of `live/#` that counts what it got and whether its stream ended. */
interface Stream {
  readonly kind: string
  got: number
  ended: boolean
  close(): void
}

async function mqttStream(): Promise<Stream & { client: MqttClient }> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, { reconnectPeriod: 0 })
  const stream = { kind: "mqtt", got: 0, ended: false, client, close: () => client.end(true) }
  client.on("message", () => stream.got++)
  client.on("close", () => {
    stream.ended = true
  })
  await client.subscribeAsync("live/#", { qos: 1 })
  return stream
}

async function jsonStream(): Promise<Stream> {
  const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/`, "tidegate.v1.json")
  const stream = { kind: "json", got: 0, ended: false, close: () => socket.terminate() }
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject))
  const ready = new Promise((resolve) => socket.once("message", resolve))
  socket.send(JSON.stringify({ type: "subscribe", id: 1, filter: "live/#" }))
  await ready
  socket.on("message", () => stream.got++)
  socket.on("close", () => {
    stream.ended = true
  })
  return stream
}

async function eventStream(): Promise<Stream> {
  const socket: Socket = connectTcp(gateway.port, "127.0.0.1")
  const stream = { kind: "events", got: 0, ended: false, close: () => socket.destroy() }
  const open = new Promise((resolve) => socket.once("data", resolve))
  socket.on("data", (data) => {
    stream.got += data.toString().match(/^data: /gm)?.length ?? 0
  })
  socket.on("close", () => {
    stream.ended = true
  })
  socket.write("GET /t/live/a HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n")
  await open
  return stream
}

/** RFC 7641: GET with Observe 0 on /t/live/a; each notification is acknowledged where it asks for it. */
async function observeStream(index: number): Promise<Stream> {
  const socket: UdpSocket = createSocket("udp4")
  const stream = { kind: "observe", got: 0, ended: false, close: () => socket.close() }
  const token = Buffer.from([index])
  const path = ["t", "live", "a"].map((part, at) =>
    Buffer.concat([Buffer.from([((at === 0 ? 5 : 0) << 4) | part.length]), Buffer.from(part)]),
  )
  const request = Buffer.concat([Buffer.from([0x41, 1, 0x10, index]), token, Buffer.from([0x60]), ...path])
  const first = new Promise((resolve) => socket.once("message", resolve))
  socket.on("message", (data) => {
    if (((data[0] ?? 0) & 0x30) === 0)
      socket.send(Buffer.from([0x60, 0, data[2] ?? 0, data[3] ?? 0]), gateway.udpPort, "127.0.0.1")
    if (data[1] === 0x45) stream.got++
    else if ((data[1] ?? 0) >= 0x80) stream.ended = true
  })
  socket.send(request, gateway.udpPort, "127.0.0.1")
  await first
  return stream
}

test("200 mixed streams live through 100 applies and all still receive", async (t) => {
  t.timeout(120_000)
  const streams = open
  for (let index = 0; index < EACH; index++) {
    streams.push(await mqttStream(), await jsonStream(), await eventStream(), await observeStream(index))
  }
  t.is(streams.length, 4 * EACH)
  for (let version = 1; version <= APPLIES; version++) {
    const answer = await put({ workers: 2, admin: { address: "127.0.0.1:0" }, listeners, ...config(version) })
    t.is(answer.status, 200, await answer.text())
    if (version % 20 === 0)
      t.regex(await exchange(gateway.port, "GET /version HTTP/1.0\r\n\r\n"), new RegExp(`v${version}$`))
  }
  t.deepEqual(
    streams.filter(({ ended }) => ended).map(({ kind }) => kind),
    [],
  )
  for (const stream of streams) stream.got = 0
  const publisher = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`)
  await publisher.publishAsync("live/a", "still here", { qos: 1 })
  for (const end = Date.now() + 5_000; Date.now() < end && streams.some(({ got }) => got === 0); ) await sleep(20)
  t.deepEqual(
    streams.filter(({ got, ended }) => got !== 1 || ended).map(({ kind, got }) => `${kind} ${got}`),
    [],
  )
  await publisher.endAsync()
})

test("a bad change changes nothing and says everything that is wrong with it", async (t) => {
  const answer = await put({
    ...config(0),
    routes: [
      { when: { path: "/x" }, to: "apii" },
      { when: { pth: "/y" }, to: "api" },
    ],
    nonsense: 1,
  })
  t.is(answer.status, 422)
  const { problems } = (await answer.json()) as { problems: { path: string; message: string }[] }
  t.true(problems.length >= 3, JSON.stringify(problems))
  t.regex(JSON.stringify(problems), /api/)
  t.regex(await exchange(gateway.port, "GET /version HTTP/1.0\r\n\r\n"), new RegExp(`v${APPLIES}$`))
})
