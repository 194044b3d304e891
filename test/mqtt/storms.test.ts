/** What a fleet does all at once, and what is kept for those who are away: takeovers, wills, one stored copy, quotas by bytes and age. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import test, { type ExecutionContext } from "ava"
import { kept, publish, subscribe } from "./packets.ts"
import { counted, RawClient, sessions, start, type Target } from "./raw.ts"

function folder(t: ExecutionContext<unknown>): string {
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-storms-"))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  return dataDir
}

async function away(target: Target, clientId: string, filter: string): Promise<void> {
  const { client } = await RawClient.connect(target, kept(clientId))
  client.send(subscribe(filter, { qos: 1 }))
  await client.expect("suback")
  client.drop()
}

/** Takes a session's messages until none comes for a while. */
async function taken(target: Target, clientId: string): Promise<string[]> {
  const { client } = await RawClient.connect(target, kept(clientId))
  const got: string[] = []
  for (;;) {
    const packet = await client.next(300)
    if (packet === null) break
    if (packet.cmd !== "publish") continue
    got.push(String(packet.payload))
    client.send({ cmd: "puback", messageId: packet.messageId })
  }
  client.drop()
  return got
}

test("a storm of takeovers leaves one connection, tells the others 0x8E, and loses no message", async (t) => {
  const target = await start(t, { workers: 2 })
  await away(target, "wanted", "storm")
  const { client: from } = await RawClient.connect(target)
  const many = Array.from({ length: 40 }, (_, n) => String(n))
  const seen = new Set<string>()
  const codes: (number | undefined)[] = []
  const storm = Array.from({ length: 60 }, async (_, n) => {
    await sleep(n * 3)
    const { client } = await RawClient.connect(target, kept("wanted"))
    for (;;) {
      const packet = await client.next(1_500)
      if (packet === null) return
      if (packet.cmd === "disconnect") codes.push(packet.reasonCode)
      if (packet.cmd !== "publish") continue
      seen.add(String(packet.payload))
      client.send({ cmd: "puback", messageId: packet.messageId })
    }
  })
  for (const [at, n] of many.entries()) {
    from.send(publish("storm", n, { qos: 1, messageId: at + 1 }))
    t.is((await from.expect("puback")).reasonCode, 0)
  }
  await Promise.all(storm)
  for (const payload of await taken(target, "wanted")) seen.add(payload)
  t.deepEqual([...seen].sort(), [...many].sort())
  // Whoever is overtaken before its CONNACK is closed without one.
  t.true(codes.length > 10 && codes.every((code) => code === 0x8e), JSON.stringify(codes))
  t.is((await sessions(target)).filter(({ clientId }) => clientId === "wanted").length, 1)
})

test("a storm of wills brings each will once, and who is connected is answered meanwhile", async (t) => {
  const target = await start(t, { workers: 2 })
  const { client: watcher } = await RawClient.connect(target)
  watcher.send(subscribe("will/#", { qos: 1 }))
  await watcher.expect("suback")
  const { client: calm } = await RawClient.connect(target)
  const lost = await Promise.all(
    Array.from({ length: 300 }, async (_, n) => {
      const will = { topic: `will/${n}`, payload: Buffer.from(String(n)), qos: 1 as const, retain: false }
      return (await RawClient.connect(target, { will })).client
    }),
  )
  for (const client of lost) client.drop()
  const began = performance.now()
  await calm.settle()
  t.true(performance.now() - began < 1_000)
  const got: number[] = []
  while (got.length < 300) {
    const packet = await watcher.expect("publish")
    got.push(Number(packet.payload))
    watcher.send({ cmd: "puback", messageId: packet.messageId })
  }
  t.is(new Set(got).size, 300)
  t.deepEqual(await watcher.settle(), [])
})

test("a message stands once on the disk for any number of sessions, and each of them gets it after a restart", async (t) => {
  const dataDir = folder(t)
  const target = await start(t, { workers: 1, dataDir })
  const names = Array.from({ length: 30 }, (_, n) => `away-${n}`)
  for (const name of names) await away(target, name, "copy/#")
  await sleep(50)
  const { client: from } = await RawClient.connect(target)
  const payload = `one-copy-${"x".repeat(2_000)}`
  for (let n = 0; n < 5; n++) from.send(publish(`copy/${n}`, payload, { qos: 1, messageId: n + 1 }))
  for (let n = 0; n < 5; n++) await from.expect("puback")
  const files = readdirSync(dataDir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const text = files.map((entry) => readFileSync(join(entry.parentPath, entry.name), "latin1")).join("")
  t.is(text.split("one-copy-").length - 1, 5)
  await target.gateway.close()
  const again = await start(t, { workers: 2, dataDir })
  for (const name of names) t.is((await taken(again, name)).length, 5, name)
})

test("quotas by bytes and by age drop the newest and the oldest, each by its reason", async (t) => {
  const target = await start(t, { workers: 1, broker: { maxQueuedBytes: 4_096, maxQueuedAgeS: 1 } })
  await away(target, "small", "quota")
  await sleep(50)
  const { client: from } = await RawClient.connect(target)
  for (let n = 0; n < 10; n++) {
    from.send(publish("quota", `${n} ${"x".repeat(1_000)}`, { qos: 1, messageId: n + 1 }))
    await from.expect("puback")
  }
  const dropped = (reason: string) => counted(target, "tidegate_dropped_total", { protocol: "mqtt", reason })
  const [row] = (await sessions(target)).filter(({ clientId }) => clientId === "small")
  t.true(row !== undefined && row.queued > 0 && row.queued < 10)
  t.is(dropped("queue-full"), 10 - (row?.queued ?? 0))
  await sleep(1_200)
  from.send(publish("quota", "young", { qos: 1, messageId: 20 }))
  await from.expect("puback")
  const got = await taken(target, "small")
  t.true(
    got.every((payload) => payload === "young"),
    got.join().slice(0, 100),
  )
  t.is(dropped("too-old"), row?.queued ?? 0)
})
