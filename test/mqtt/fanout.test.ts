/** Big fan-outs: a turn of many writes lets everything else run between its batches, and everybody still gets all in order. */
import test from "ava"
import { counted, RawClient, start } from "./raw.ts"

test("500 subscribers are written in batches of 128, each gets all messages once and in order, and what comes meanwhile is served", async (t) => {
  const target = await start(t, { workers: 1 })
  const clients = await Promise.all(Array.from({ length: 500 }, () => RawClient.connect(target)))
  for (const { client } of clients) {
    client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "all/#", qos: 1 }] })
    await client.expect("suback")
  }
  const { client: publisher } = await RawClient.connect(target)
  const before = counted(target, "tidegate_flush_yields_total")
  for (let messageId = 1; messageId <= 3; messageId++)
    publisher.send({ cmd: "publish", topic: "all/a", payload: String(messageId), qos: 1, messageId, dup: false })
  const answered = fetch(`http://127.0.0.1:${target.port}/t/other`, { method: "PUT", body: "x" })
  for (const { client } of clients) {
    const payloads = []
    while (payloads.length < 3) payloads.push(String((await client.expect("publish")).payload))
    t.deepEqual(payloads, ["1", "2", "3"])
  }
  t.is((await answered).status, 202)
  // 500 links are four batches: three times, at least once, others went first.
  t.true(counted(target, "tidegate_flush_yields_total") - before >= 3)
  const deliveries = (outcome: string) => counted(target, "tidegate_deliveries_total", { outcome })
  t.is(deliveries("matched"), 1_500)
  t.is(deliveries("delivered"), 1_500)
})

for (const maxPendingDeliveries of [262_144, 1])
  test(`1,100 subscribers get all messages once and in order, a slice a turn, where ${maxPendingDeliveries} deliveries may be due`, async (t) => {
    const target = await start(t, { workers: 1, broker: { maxPendingDeliveries } })
    const clients: RawClient[] = []
    while (clients.length < 1_100) {
      const some = await Promise.all(Array.from({ length: 100 }, () => RawClient.connect(target)))
      for (const { client } of some) {
        client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "all/#", qos: 1 }] })
        clients.push(client)
      }
      for (const { client } of some) await client.expect("suback")
    }
    const { client: publisher } = await RawClient.connect(target)
    for (let messageId = 1; messageId <= 10; messageId++)
      publisher.send({ cmd: "publish", topic: "all/a", payload: String(messageId), qos: 1, messageId, dup: false })
    // Who leaves in the middle gets what was due, or nothing: nobody else feels it.
    clients.pop()?.drop()
    for (let messageId = 1; messageId <= 10; messageId++) t.is((await publisher.expect("puback")).messageId, messageId)
    for (const client of clients) {
      const payloads = []
      while (payloads.length < 10) payloads.push(String((await client.expect("publish")).payload))
      t.deepEqual(
        payloads,
        Array.from({ length: 10 }, (_, index) => String(index + 1)),
      )
    }
    // 10,990 deliveries, at least, are made in turns of 128.
    t.true(counted(target, "tidegate_fan_out_turns_total") >= 85)
  })
