/** Hooks of the broker on the road of JSON frames: who comes, publishes, subscribes and is delivered to. */
import { once } from "node:events"
import test, { type ExecutionContext } from "ava"
import { WebSocket } from "ws"
import type { Field, PolicyMessage, Verdict } from "../../src/index.ts"
import { definePolicy } from "../../src/index.ts"
import { start, type Target } from "./raw.ts"

function on(hook: string, decide: (message: PolicyMessage) => Verdict, reads: Field[] = []): object {
  const policy = definePolicy({ name: "probe", deadlineMs: 5_000, fallback: "reject", decide, reads: () => reads })
  return { broker: { hooks: { [hook]: [policy()] } } }
}

/** Frames as a client of the subprotocol has them. */
class Frames {
  readonly #socket: WebSocket
  readonly #frames: object[] = []

  constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on("message", (data) => this.#frames.push(JSON.parse(String(data)) as object))
  }

  static async open(t: ExecutionContext<unknown>, { port }: Target, headers: object = {}): Promise<Frames> {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/`, "tidegate.v1.json", { headers: { ...headers } })
    t.teardown(() => socket.terminate())
    const frames = new Frames(socket)
    await once(socket, "open")
    return frames
  }

  async next(): Promise<object> {
    while (this.#frames.length === 0) await once(this.#socket, "message", { signal: AbortSignal.timeout(3_000) })
    return this.#frames.shift() as object
  }

  ask(frame: object): Promise<object> {
    this.#socket.send(JSON.stringify(frame))
    return this.next()
  }
}

test("onAuthenticate decides about the upgrade", async (t) => {
  const known = (m: PolicyMessage): Verdict => (m.attribute("username") === "ann" ? { user: "ann" } : "reject")
  const target = await start(t, on("onAuthenticate", known, ["username"]))
  const as = (user: string) => ({ authorization: `Basic ${Buffer.from(`${user}:x`).toString("base64")}` })
  const ann = await Frames.open(t, target, as("ann"))
  t.like(await ann.ask({ type: "publish", id: 1, topic: "a", payload: "x" }), { type: "ack", id: 1 })
  const refused = await Frames.open(t, target, as("bob")).catch(String)
  t.regex(String(refused), /401/)
})

test("onAuthorize and onPublish refuse, drop and change what a frame publishes", async (t) => {
  const decide = (m: PolicyMessage): Verdict => {
    if (m.topic?.startsWith("secret")) return "reject"
    if (m.topic?.startsWith("busy")) return { reject: { reason: 0x97 } }
    if (m.topic?.startsWith("noise")) return { drop: true }
    return { topic: `clean/${m.topic}`, payload: { was: m.json() } }
  }
  const config = { ...on("onPublish", decide, ["payload"]) }
  const target = await start(t, config)
  const frames = await Frames.open(t, target)
  t.like(await frames.ask({ type: "subscribe", id: 1, filter: "#", qos: 1 }), { type: "ack", id: 1 })
  const publish = (id: number, topic: string) => frames.ask({ type: "publish", id, topic, payload: { n: id }, qos: 1 })
  t.like(await publish(2, "secret/a"), { type: "error", id: 2, code: "forbidden" })
  t.like(await publish(3, "busy/a"), { type: "error", id: 3, code: "quota-exceeded" })
  t.like(await publish(4, "noise/a"), { type: "ack", id: 4, code: "success" })
  const both = [await publish(5, "a"), await frames.next()]
  t.true(both.some((frame) => JSON.stringify(frame).includes('"ack"')))
  const message = both.find((frame) => "topic" in frame) as { topic: string; payload: string }
  t.is(message.topic, "clean/a")
  t.deepEqual(JSON.parse(message.payload), { was: { n: 5 } })
  const authorized = await start(
    t,
    on("onAuthorize", (m) => (m.topic?.startsWith("secret") ? "reject" : undefined)),
  )
  const other = await Frames.open(t, authorized)
  t.like(await other.ask({ type: "publish", id: 1, topic: "secret/a", payload: "" }), { code: "forbidden" })
  t.like(await other.ask({ type: "subscribe", id: 2, filter: "secret/#" }), { type: "error", code: "forbidden" })
  t.like(await other.ask({ type: "subscribe", id: 3, filter: "open/#" }), { type: "ack", id: 3 })
})

test("onSubscribe rewrites the filter of a frame and lowers its promise", async (t) => {
  const target = await start(
    t,
    on("onSubscribe", (m) => ({ topic: `tenant/${m.topic}`, qos: 0 })),
  )
  const frames = await Frames.open(t, target)
  t.like(await frames.ask({ type: "subscribe", id: 1, filter: "a", qos: 1 }), { type: "ack", id: 1 })
  await target.gateway.publish("a", "not this")
  await target.gateway.publish("tenant/a", "this", { qos: 1 })
  const message = (await frames.next()) as { id?: number }
  t.like(message, { type: "message", topic: "tenant/a", payload: "this" })
  t.is(message.id, undefined, "QoS 0 wants no ack")
})

test("onDeliver changes and withholds, in order", async (t) => {
  const decide = (m: PolicyMessage): Verdict =>
    m.text() === "withheld" ? { drop: true } : { payload: m.text()?.toUpperCase() ?? "" }
  const target = await start(t, on("onDeliver", decide, ["payload"]))
  const frames = await Frames.open(t, target)
  t.like(await frames.ask({ type: "subscribe", id: 1, filter: "a/#", qos: 1 }), { type: "ack" })
  for (const payload of ["one", "withheld", "two", "three"]) await target.gateway.publish("a/b", payload, { qos: 1 })
  const got: unknown[] = []
  while (got.length < 3) got.push(((await frames.next()) as { payload: string }).payload)
  t.deepEqual(got, ["ONE", "TWO", "THREE"])
})
