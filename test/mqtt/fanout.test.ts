/** Big fan-outs: a turn of many writes lets everything else run between its batches, and everybody still gets all in order. */
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import { counted, RawClient, start, type Target } from "./raw.ts"

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
  // The worker's counts are read a tenth of a second apart.
  for (const end = Date.now() + 5_000; deliveries("delivered") < 1_500 && Date.now() < end; ) await sleep(20)
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

test("1,100 kept sessions get all messages in order, a slice a turn, each acknowledged when the log names who gets it", async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), "tidegate-fanout-"))
  t.teardown(() => rm(dataDir, { recursive: true, force: true }))
  const config = { workers: 1, dataDir }
  const first = await start(t, config)
  const join100 = (target: Target, from: number) =>
    Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const kept = { clean: false, properties: { sessionExpiryInterval: 600 } }
        return (await RawClient.connect(target, { clientId: `kept-${from + index}`, ...kept })).client
      }),
    )
  const clients: RawClient[] = []
  while (clients.length < 1_100) {
    const some = await join100(first, clients.length)
    for (const client of some) {
      client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "all/#", qos: 2 }] })
      await client.expect("suback")
    }
    clients.push(...some)
  }
  const { client: publisher } = await RawClient.connect(first)
  const expected = ["1", "2", "3", "4"]
  for (const [index, payload] of expected.entries()) {
    const qos = ((index % 2) + 1) as 1 | 2
    publisher.send({ cmd: "publish", topic: "all/a", payload, qos, messageId: index + 1, dup: false })
  }
  for (const cmd of ["puback", "pubrec", "puback", "pubrec"] as const) await publisher.expect(cmd)
  const payloads = async (client: RawClient) => {
    const got: string[] = []
    while (got.length < expected.length) got.push(String((await client.expect("publish")).payload))
    return got
  }
  for (const client of clients) t.deepEqual(await payloads(client), expected)
  t.true(counted(first, "tidegate_fan_out_turns_total") >= 30)
  // Nobody acknowledged: all of it comes again.
  await first.gateway.close()
  for (const client of await join100(await start(t, config), 1_000)) t.deepEqual(await payloads(client), expected)
})
