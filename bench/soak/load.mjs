// Mixed clients at a steady rate: MQTT at every QoS with sessions that come and go, CoAP, HTTP, WebSocket. Each counts
// what it sent and what came; a client that loses its connection comes again.
import { createServer } from "node:http"
import mqtt from "mqtt"
import { Agent, request } from "undici"
import WebSocket from "ws"
import { CoapDevice } from "../../dist/testing.js"

const sleep = (ms) => new Promise((done) => setTimeout(done, ms))

/** An HTTP service behind the gateway. `flaky` answers 503 and resets while it is set. */
export class Origin {
  flaky = false
  #server = createServer((incoming, response) => {
    if (this.flaky && Math.random() < 0.5)
      return Math.random() < 0.5 ? incoming.socket.destroy() : response.writeHead(503).end()
    incoming.resume()
    incoming.on("end", () => response.end(`hello ${incoming.url}`))
  })

  async open() {
    await new Promise((done) => this.#server.listen(0, "127.0.0.1", done))
    return `127.0.0.1:${this.#server.address().port}`
  }

  close() {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

export class Load {
  counts = {
    mqttSent: 0,
    mqttReceived: 0,
    http: 0,
    httpFailed: 0,
    coap: 0,
    coapFailed: 0,
    websocket: 0,
    churned: 0,
    errors: 0,
  }
  #running = true
  #tasks = []
  #closing = []

  constructor(gateway, { perSecond }) {
    this.gateway = gateway
    this.pauseMs = 1_000 / perSecond
  }

  start() {
    for (const qos of [0, 1, 2]) this.#mqttPair(qos)
    this.#spawn(() => this.#sleeper())
    this.#spawn(() => this.#churn())
    this.#spawn(() => this.#http())
    this.#spawn(() => this.#coap())
    this.#webSocket()
  }

  /** Ends all clients; messages under way arrive first. */
  async stop() {
    this.#running = false
    await Promise.all(this.#tasks)
    await sleep(500)
    await Promise.all(this.#closing.map((close) => close()))
  }

  #spawn(run) {
    const task = (async () => {
      while (this.#running) {
        await run().catch(() => {
          this.counts.errors++
        })
        await sleep(this.pauseMs)
      }
    })()
    this.#tasks.push(task)
  }

  #client(clientId, options = {}) {
    const client = mqtt.connect(`mqtt://127.0.0.1:${this.gateway.port}`, {
      clientId,
      protocolVersion: 5,
      reconnectPeriod: 200,
      ...options,
    })
    client.on("error", () => {
      this.counts.errors++
    })
    return client
  }

  #mqttPair(qos) {
    const subscriber = this.#client(`soak-sub-${qos}`)
    subscriber.on("connect", () => subscriber.subscribe(`soak/${qos}/#`, { qos }))
    subscriber.on("message", () => {
      this.counts.mqttReceived++
    })
    const publisher = this.#client(`soak-pub-${qos}`)
    this.#closing.push(
      () => subscriber.endAsync(true),
      () => publisher.endAsync(true),
    )
    let number = 0
    this.#spawn(async () => {
      if (!publisher.connected) return
      const topic = `soak/${qos}/${number++ % 100}`
      // An acknowledgement that never comes must not end the load: the connection is gone then.
      await Promise.race([
        publisher.publishAsync(topic, `${number}`.padEnd(64), { qos, retain: number % 10 === 0 }),
        sleep(5_000),
      ])
      this.counts.mqttSent++
    })
  }

  /** A kept session that is away most of the time. */
  async #sleeper() {
    const client = this.#client("soak-sleeper", {
      clean: false,
      reconnectPeriod: 0,
      properties: { sessionExpiryInterval: 600 },
    })
    client.on("message", () => {
      this.counts.mqttReceived++
    })
    await new Promise((done, fail) => client.once("connect", done).once("close", () => fail(new Error("closed"))))
    await client.subscribeAsync("soak/1/#", { qos: 1 })
    await sleep(300)
    client.end(true)
    await sleep(1_000)
  }

  /** Clients that come, say one thing and go, half of them without a word. */
  async #churn() {
    const client = this.#client(`soak-churn-${this.counts.churned++ % 50}`, { reconnectPeriod: 0 })
    await new Promise((done, fail) => client.once("connect", done).once("close", () => fail(new Error("closed"))))
    client.publish("soak/0/churn", "x")
    await sleep(20)
    client.end(this.counts.churned % 2 === 0)
  }

  async #http() {
    this.agent ??= new Agent({ connections: 8 })
    const base = `http://127.0.0.1:${this.gateway.port}`
    const calls = [
      ["GET", "/api/hello"],
      ["POST", "/api/echo"],
      ["PUT", "/t/soak/0/http"],
      ["GET", "/t/soak/0/0"],
    ]
    const [method, path] = calls[this.counts.http++ % calls.length]
    const body = method === "GET" ? undefined : "x".repeat(256)
    const options = { method, body, dispatcher: this.agent, headersTimeout: 5_000 }
    const { statusCode, body: answer } = await request(`${base}${path}`, options).catch((error) => {
      this.counts.httpFailed++
      throw error
    })
    await answer.dump()
    if (statusCode >= 500) this.counts.httpFailed++
  }

  async #coap() {
    this.device ??= await CoapDevice.open(this.gateway.udpPort)
    this.counts.coap++
    const method = this.counts.coap % 2 === 0 ? "GET" : "POST"
    await this.device.request(method, "/t/soak/0/coap", method === "POST" ? "22.0" : undefined).catch((error) => {
      this.counts.coapFailed++
      throw error
    })
  }

  #webSocket() {
    let socket = null
    const open = () => {
      if (!this.#running) return
      socket = new WebSocket(`ws://127.0.0.1:${this.gateway.port}/`, "tidegate.v1.json")
      socket.on("open", () => socket.send(JSON.stringify({ type: "subscribe", filter: "soak/0/#" })))
      socket.on("message", () => {
        this.counts.websocket++
      })
      socket.on("error", () => undefined)
      socket.on("close", () => setTimeout(open, 300))
    }
    open()
    this.#closing.push(async () => socket?.terminate())
    this.#closing.push(async () => this.device?.close())
    this.#closing.push(async () => this.agent?.destroy())
  }
}

/** Subscribes to everything and stops reading; gives the way to end it. */
export async function slowReader({ port }) {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, "tidegate.v1.json")
  await new Promise((done, failed) => socket.once("open", done).once("error", failed))
  socket.on("error", () => undefined)
  const acknowledged = new Promise((done) => socket.once("message", done))
  socket.send(JSON.stringify({ type: "subscribe", id: 1, filter: "#" }))
  await acknowledged
  socket.pause()
  return () => socket.terminate()
}

/** Reasons of `tidegate_dropped_total` that count deliveries; the others count requests, datagrams, lines. */
const DELIVERY_DROPS = [
  "queue-full",
  "total-full",
  "slow-consumer",
  "disconnected",
  "expired",
  "session-ended",
  "forbidden",
  "no-member",
  "superseded",
  "too-old",
  "duplicate",
  "packet-too-large",
  "coap-queue-full",
  "coap-replaced",
  "coap-gone",
  "coap-observe-full",
  "coap-asleep-full",
  "coap-silent",
]

/** What must hold once the traffic has come to rest; the sums that do not. */
export function unaccounted(metric) {
  const published = metric("tidegate_publishes_total")
  const taken =
    metric("tidegate_publishes_total{outcome=accepted}") + metric("tidegate_publishes_total{outcome=refused}")
  const matched = metric("tidegate_deliveries_total{outcome=matched}")
  const dropped = DELIVERY_DROPS.reduce((sum, reason) => sum + metric(`tidegate_dropped_total{reason=${reason}}`), 0)
  const rest =
    matched - metric("tidegate_deliveries_total{outcome=delivered}") - metric("tidegate_queued_messages") - dropped
  return { published: published - taken, deliveries: rest, matched, dropped }
}
