/** What goes with a message, between JSON frames and MQTT 5: content type, expiry, reply, trace, properties. */
import { once } from "node:events"
import ava from "ava"
import mqtt, { type IPublishPacket } from "mqtt"
import { WebSocket } from "ws"
import { type Running, runGateway } from "./run-gateway.ts"

let gateway: Running
ava.before(async () => {
  gateway = await runGateway()
})
ava.after.always(() => gateway?.stop())

type Frame = Record<string, unknown>

/** A socket of JSON frames and whatever came by it. */
async function socket() {
  const ws = new WebSocket(`ws://127.0.0.1:${gateway.port}/`, "tidegate.v1.json")
  const waiting: Frame[] = []
  const waiters: ((frame: Frame) => void)[] = []
  ws.on("message", (text) => {
    const frame = JSON.parse(String(text)) as Frame
    const waiter = waiters.shift()
    if (waiter === undefined) waiting.push(frame)
    else waiter(frame)
  })
  await once(ws, "open")
  const next = (): Promise<Frame> =>
    new Promise((resolve) => resolve(waiting.shift() ?? new Promise((r) => waiters.push(r))))
  const ask = (frame: Frame): Promise<Frame> => {
    ws.send(JSON.stringify(frame))
    return next()
  }
  return { ws, next, ask }
}

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

ava("a frame's fields are an MQTT 5 client's properties, and the other way", async (t) => {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.port}`, { protocolVersion: 5 })
  t.teardown(() => client.endAsync(true))
  const packets: IPublishPacket[] = []
  client.on("message", (_topic, _payload, packet) => packets.push(packet))
  await client.subscribeAsync("to-mqtt/#", { qos: 1 })
  const { ws, ask, next } = await socket()
  t.teardown(() => ws.terminate())

  const fields = {
    contentType: "text/plain",
    responseTopic: "answers/7",
    correlation: "question 7",
    traceparent: trace,
    properties: { site: "north", tag: ["a", "b"] },
  }
  const sent = { type: "publish", id: 1, topic: "to-mqtt/x", payload: "hi", qos: 1, expiry: 60, ...fields }
  t.deepEqual(await ask(sent), { type: "ack", id: 1, code: "success" })
  while (packets.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
  const { userProperties, messageExpiryInterval, correlationData, ...rest } = packets[0]?.properties ?? {}
  t.deepEqual({ ...userProperties }, { traceparent: trace, site: "north", tag: ["a", "b"] })
  t.like(rest, { contentType: "text/plain", responseTopic: "answers/7" })
  t.is(String(correlationData), "question 7")
  t.true(messageExpiryInterval === 60 || messageExpiryInterval === 59)

  t.like(await ask({ type: "subscribe", id: 2, filter: "to-json/#" }), { type: "ack", id: 2 })
  await client.publishAsync("to-json/x", "hello", {
    qos: 1,
    properties: {
      contentType: "text/plain",
      responseTopic: "answers/7",
      correlationData: Buffer.from("question 7"),
      messageExpiryInterval: 60,
      userProperties: { traceparent: trace, site: "north", tag: ["a", "b"] },
    },
  })
  const { expiry, ...got } = await next()
  t.deepEqual(got, { type: "message", topic: "to-json/x", payload: "hello", retain: false, ...fields })
  t.true(expiry === 60 || expiry === 59)
  await client.publishAsync("to-json/y", "", { properties: { correlationData: Buffer.from([0, 255]) } })
  t.deepEqual((await next()).correlation, { base64: "AP8=" })
})

ava("fields that MQTT could not carry are refused, and the connection lives", async (t) => {
  const { ws, ask } = await socket()
  t.teardown(() => ws.terminate())
  const wrong: readonly (readonly [Frame, RegExp])[] = [
    [{ correlation: 7 }, /correlation is a string/],
    [{ responseTopic: "a/+" }, /responseTopic/],
    [{ contentType: "x".repeat(70_000) }, /longer than 65,535/],
    [{ properties: { a: 1 } }, /./],
    [{ correlationId: "x" }, /unknown field `correlationId`/],
  ]
  for (const [fields, message] of wrong) {
    const answer = await ask({ type: "publish", id: 3, topic: "a/b", payload: "x", ...fields })
    t.like(answer, { type: "error", id: 3, code: "malformed" })
    t.regex(String(answer.message), message)
  }
  t.like(await ask({ type: "publish", id: 4, topic: "a/b", payload: "x" }), { type: "ack", id: 4 })
  const refused = await ask({ type: "subscribe", id: 5, filter: "a/#/b" })
  t.like(refused, { type: "error", id: 5, code: "invalid-topic" })
  t.regex(String(refused.message), /in a filter .* # in the last/)
})
