/** More retained messages for a new subscription than its subscriber's queue holds: all of them come, by every road. */
import { once } from "node:events"
import test, { type ExecutionContext } from "ava"
import { WebSocket } from "ws"
import { kept, publish, subscribe } from "./packets.ts"
import { counted, RawClient, start, type Target } from "./raw.ts"

const COUNT = 2_500
const BODY = "x".repeat(1_000)

/** A gateway with more retained messages than a queue has room for, in number and in bytes. */
async function filled(t: ExecutionContext<unknown>, qos: 0 | 1): Promise<Target> {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  for (let number = 0; number < COUNT; number++) {
    client.send(publish(`r/${number}`, BODY, { retain: true, qos, messageId: 1 + (number % 500) }))
    if (number % 500 === 499) await client.settle()
  }
  t.is(counted(target, "tidegate_retained_messages"), COUNT)
  return target
}

/** Takes publishes, acknowledges them, and says of how many topics. */
async function topics(client: RawClient, count: number): Promise<number> {
  const seen = new Set<string>()
  while (seen.size < count) {
    const packet = await client.next()
    if (packet === null) break
    if (packet.cmd !== "publish") continue
    seen.add(packet.topic)
    if (packet.qos === 1) client.send({ cmd: "puback", messageId: packet.messageId })
  }
  return seen.size
}

for (const qos of [0, 1] as const) {
  test(`a subscription of QoS ${qos} brings all retained messages, and what is published meanwhile`, async (t) => {
    const target = await filled(t, qos)
    const { client: from } = await RawClient.connect(target)
    const { client } = await RawClient.connect(target, { properties: { receiveMaximum: 20 } })
    client.send(subscribe("r/+", { qos }))
    await client.expect("suback")
    from.send(publish("r/live", "now", { qos: 1, messageId: 1 }))
    t.is(await topics(client, COUNT + 1), COUNT + 1)
    t.is(counted(target, "tidegate_dropped_total"), 0)
  })
}

test("what a kept session is owed goes on with its next connection, on another worker too", async (t) => {
  const target = await filled(t, 1)
  const { client: first } = await RawClient.connect(target, kept("reader"))
  first.send(subscribe("r/+", { qos: 1 }))
  const before = await topics(first, 100)
  first.drop()
  // The kernel deals connections to workers.
  for (let more = 0; more < 3; more++) (await RawClient.connect(target, kept("reader"))).client.drop()
  const { client } = await RawClient.connect(target, kept("reader"))
  t.is(before, 100)
  t.true((await topics(client, COUNT - before)) >= COUNT - before)
})

test("an event stream and a JSON WebSocket get all of them, too", async (t) => {
  const target = await filled(t, 1)
  const ended = new AbortController()
  const answer = await fetch(`http://127.0.0.1:${target.port}/t/r/+`, {
    headers: { accept: "text/event-stream" },
    signal: ended.signal,
  })
  const ids = new Set<string>()
  let text = ""
  for await (const chunk of answer.body ?? []) {
    text += Buffer.from(chunk).toString()
    const lines = text.split("\n")
    text = lines.pop() ?? ""
    for (const line of lines) if (line.startsWith("id: ")) ids.add(line)
    if (ids.size === COUNT) break
  }
  t.is(ids.size, COUNT)
  const socket = new WebSocket(`ws://127.0.0.1:${target.port}/`, "tidegate.v1.json")
  await once(socket, "open")
  const seen = new Set<string>()
  socket.send(JSON.stringify({ type: "subscribe", id: 1, filter: "r/+", qos: 0 }))
  await new Promise<void>((resolve) => {
    const tired = setTimeout(resolve, 5_000)
    socket.on("message", (data: Buffer) => {
      const message = JSON.parse(String(data)) as { type: string; topic: string }
      if (message.type === "message") seen.add(message.topic)
      if (seen.size < COUNT) return
      clearTimeout(tired)
      resolve()
    })
  })
  socket.terminate()
  t.is(seen.size, COUNT)
})
