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
