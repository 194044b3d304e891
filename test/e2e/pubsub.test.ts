/** One message, every protocol: foreign clients of MQTT, CoAP, HTTP and WebSocket meet on two workers. */
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import mqtt from "mqtt"
import { WebSocket as Ws } from "ws"
import { has, type Running, run, runGateway, start } from "./run-gateway.ts"

// One after the other: they share topics.
const test = ava.serial
let gateway: Running
const clients =
  has("mosquitto_sub", "mosquitto-clients") && has("coap-client-notls", "libcoap3-bin") && has("curl", "curl")

ava.before(async () => {
  gateway = await runGateway({ routes: [{ when: { topic: "plant/+/raw" }, to: { topic: "archive/{topic}" } }] })
})
ava.after.always(() => gateway?.stop())

const http = (path: string): string => `http://127.0.0.1:${gateway.port}${path}`
const coap = (path: string): string => `coap://127.0.0.1:${gateway.udpPort}${path}`
const port = (): string[] => ["-h", "127.0.0.1", "-p", String(gateway.port)]

if (clients) {
  test("a message published on one protocol reaches the subscribers on all others", async (t) => {
    const old = start("mosquitto_sub", [...port(), "-t", "all/+/temp", "-v"])
    const five = start("mosquitto_sub", [...port(), "-V", "5", "-q", "2", "-t", "all/#", "-v"])
    const stream = start("curl", ["-sN", "-H", "Accept: text/event-stream", http("/t/all/+/temp")])
    const observer = start("coap-client-notls", ["-s", "20", coap("/t/all/1/temp")])
    const socket = new WebSocketJson(`ws://127.0.0.1:${gateway.port}/anywhere`)
    await socket.open()
    socket.send({ type: "subscribe", id: 1, filter: "all/+/temp", qos: 1 })
    t.true(await socket.saw(/"type":"ack"/))
    await sleep(700)
    const values = ["from-mqtt", "from-http", "from-coap", "from-json"]
    await run("mosquitto_pub", [...port(), "-t", "all/1/temp", "-m", "from-mqtt", "-q", "1", "-r"])
    t.is(
      (await run("curl", ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-d", "from-http", http("/t/all/1/temp")]))
        .out,
      "204",
    )
    await run("coap-client-notls", ["-m", "post", "-e", "from-coap", coap("/t/all/1/temp")])
    socket.send({ type: "publish", id: 2, topic: "all/1/temp", payload: "from-json", qos: 1, retain: true })
    for (const value of values) {
      t.true(await old.saw(new RegExp(`all/1/temp ${value}`)), `mosquitto_sub: ${value}\n${old.out()}`)
      t.true(await five.saw(new RegExp(`all/1/temp ${value}`)), `mosquitto_sub 5: ${value}\n${five.out()}`)
      t.true(await stream.saw(new RegExp(`data: ${value}\n`)), `event stream: ${value}\n${stream.out()}`)
      t.true(await observer.saw(new RegExp(value)), `observe: ${value}\n${observer.out()}`)
      t.true(await socket.saw(new RegExp(value)), `json: ${value}\n${socket.text}`)
    }
    t.is((await run("curl", ["-s", http("/t/all/1/temp")])).out, "from-json")
    t.regex((await run("coap-client-notls", [coap("/t/all/1/temp")])).out, /from-json/)
    for (const { child } of [old, five, stream, observer]) child.kill()
    socket.close()
  })

  test("a retained value is there for whoever comes later, until it is cleared", async (t) => {
    await run("mosquitto_pub", [...port(), "-t", "kept/a", "-m", "21.5", "-q", "1", "-r"])
    t.regex(
      (await run("mosquitto_sub", [...port(), "-t", "kept/#", "-C", "1", "-W", "3", "-F", "%r %t %p"])).out,
      /^1 kept\/a 21\.5/,
    )
    t.is(
      (await run("curl", ["-s", "-X", "DELETE", "-o", "/dev/null", "-w", "%{http_code}", http("/t/kept/a")])).out,
      "204",
    )
    t.is((await run("curl", ["-s", "-o", "/dev/null", "-w", "%{http_code}", http("/t/kept/a")])).out, "404")
  })

  test("CoAP tells apart what is there, what is not and what is wrong", async (t) => {
    t.regex((await run("coap-client-notls", ["-m", "get", coap("/t/none")])).out, /4\.04/)
    t.regex((await run("coap-client-notls", [coap("/.well-known/core")])).out, /<\/t>/)
    const big = "z".repeat(5_000)
    await run("coap-client-notls", ["-m", "put", "-e", big, coap("/t/blocks/a")])
    t.true((await run("coap-client-notls", [coap("/t/blocks/a")])).out.includes(big))
    t.is((await run("curl", ["-s", http("/t/blocks/a")])).out, big)
  })

  test("a topic route publishes again under another topic", async (t) => {
    const archive = start("mosquitto_sub", [...port(), "-t", "archive/#", "-v"])
    await sleep(400)
    await run("mosquitto_pub", [...port(), "-t", "plant/7/raw", "-m", "x", "-q", "1"])
    t.true(await archive.saw(/archive\/plant\/7\/raw x/), archive.out())
    archive.child.kill()
  })
}

test("MQTT over WebSocket is MQTT, on any path that no route claims", async (t) => {
  for (const path of ["/mqtt", "/any/other"]) {
    const client = await mqtt.connectAsync(`ws://127.0.0.1:${gateway.port}${path}`, {
      protocolVersion: 5,
      clientId: `ws${path}`,
    })
    const got = new Promise<string>((resolve) =>
      client.on("message", (topic, payload) => resolve(`${topic} ${payload}`)),
    )
    await client.subscribeAsync("ws/#", { qos: 2 })
    await client.publishAsync("ws/a", "hello", { qos: 2 })
    t.is(await got, "ws/a hello")
    await client.endAsync()
  }
})

test("a session waits for its client, and moves with it to another worker", async (t) => {
  const options = {
    clientId: "sleeper",
    clean: false,
    properties: { sessionExpiryInterval: 300 },
    protocolVersion: 5 as const,
  }
  const connect = () => mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, { ...options, reconnectPeriod: 0 })
  const first = await connect()
  await first.subscribeAsync("sleep/#", { qos: 1 })
  await first.endAsync()
  const other = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`)
  for (let index = 0; index < 50; index++) await other.publishAsync("sleep/a", String(index), { qos: 1 })
  // Several connections land on both workers.
  for (let round = 0; round < 6; round++) {
    const again = mqtt.connect(`mqtt://127.0.0.1:${gateway.port}`, { ...options, reconnectPeriod: 0 })
    const got: string[] = []
    again.on("message", (_, payload) => got.push(payload.toString()))
    const present = await new Promise<boolean>((resolve) =>
      again.on("connect", (packet) => resolve(packet.sessionPresent)),
    )
    t.true(present)
    for (const end = Date.now() + 3_000; Date.now() < end && got.length < (round === 0 ? 50 : 1); ) await sleep(10)
    t.deepEqual(got, round === 0 ? Array.from({ length: 50 }, (_, index) => String(index)) : ["again"])
    await again.endAsync()
    await other.publishAsync("sleep/a", "again", { qos: 1 })
  }
  await other.endAsync()
})

test("a second connection of a client takes the first one's place", async (t) => {
  const options = { clientId: "twin", protocolVersion: 5 as const, reconnectPeriod: 0 }
  const first = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, options)
  const told = new Promise<number | undefined>((resolve) =>
    first.on("disconnect", (packet) => resolve(packet.reasonCode)),
  )
  const second = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, options)
  t.is(await told, 0x8e)
  await second.endAsync()
})

test("a will is published when its client vanishes, and not when it says goodbye", async (t) => {
  const watcher = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`)
  const got: string[] = []
  watcher.on("message", (_, payload) => got.push(payload.toString()))
  await watcher.subscribeAsync("will/#", { qos: 1 })
  const will = (payload: string) => ({
    will: { topic: "will/a", payload: Buffer.from(payload), qos: 1 as const, retain: false },
    reconnectPeriod: 0,
  })
  const polite = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, will("polite"))
  await polite.endAsync()
  const rude = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, will("rude"))
  rude.stream.destroy()
  for (const end = Date.now() + 3_000; Date.now() < end && got.length === 0; ) await sleep(10)
  t.deepEqual(got, ["rude"])
  await watcher.endAsync()
})

test("a shared subscription gives each message to one member, over both workers", async (t) => {
  const members = await Promise.all(
    Array.from({ length: 6 }, () => mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, { protocolVersion: 5 })),
  )
  const counts = members.map(() => 0)
  for (const [index, member] of members.entries()) {
    member.on("message", () => {
      counts[index] = (counts[index] ?? 0) + 1
    })
    await member.subscribeAsync("$share/g/shared/#", { qos: 1 })
  }
  const publisher = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`)
  for (let index = 0; index < 60; index++) await publisher.publishAsync("shared/a", "x", { qos: 1 })
  const sum = (): number => counts.reduce((a, b) => a + b, 0)
  for (const end = Date.now() + 3_000; Date.now() < end && sum() < 60; ) await sleep(10)
  await sleep(100)
  t.is(sum(), 60)
  t.true(
    counts.every((count) => count > 0),
    String(counts),
  )
  await Promise.all([...members, publisher].map((client) => client.endAsync()))
})

test("JSON frames that are wrong get an error frame, and the connection lives", async (t) => {
  const socket = new WebSocketJson(`ws://127.0.0.1:${gateway.port}/`)
  await socket.open()
  socket.send({ type: "publish", id: 5, topic: "a/+", payload: "x" })
  t.true(await socket.saw(/"code":"invalid-topic"/))
  socket.send({ type: "dance", id: 6 })
  t.true(await socket.saw(/malformed/))
  socket.send({ type: "publish", id: 7, topic: "a/b", payload: { base64: "AAE=" }, qos: 1 })
  t.true(await socket.saw(/"id":7.*"ack"/))
  socket.close()
})

/** A client of `tidegate.v1.json`, on the ws that mqtt brings along. */
class WebSocketJson {
  text = ""
  readonly #socket: import("ws").WebSocket

  constructor(url: string) {
    this.#socket = new Ws(url, "tidegate.v1.json")
    this.#socket.on("message", (data: Buffer) => {
      this.text += `${data}\n`
    })
  }

  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#socket.once("open", () => resolve())
      this.#socket.once("error", reject)
    })
  }

  send(frame: object): void {
    this.#socket.send(JSON.stringify(frame))
  }

  async saw(pattern: RegExp): Promise<boolean> {
    for (const end = Date.now() + 5_000; Date.now() < end; await sleep(10)) if (pattern.test(this.text)) return true
    return false
  }

  close(): void {
    this.#socket.close()
  }
}
