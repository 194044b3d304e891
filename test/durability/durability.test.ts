/** What was acknowledged is there after the process was killed, and after its disk was full. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test from "ava"
import mqtt from "mqtt"
import { createGateway } from "../../src/index.ts"
import { killAgainAndAgain } from "./kill.mjs"

const kills = Number(process.env.TIDEGATE_KILLS ?? 20)

test("20 kills under load lose nothing that was acknowledged, bring no QoS 2 message twice and keep the order", async (t) => {
  t.timeout(120_000 + kills * 3_000)
  const result = await killAgainAndAgain({ kills })
  t.log(result)
  t.true(result.acknowledged > kills, "there was load")
  const { lost, qos2Duplicates, reordered } = result
  t.deepEqual({ lost, qos2Duplicates, reordered }, { lost: 0, qos2Duplicates: 0, reordered: 0 })
})

test("with durability power the same holds, and acknowledgements come", async (t) => {
  t.timeout(60_000)
  const result = await killAgainAndAgain({ kills: 3, durability: "power" })
  t.true(result.acknowledged > 3)
  t.deepEqual({ lost: result.lost, qos2Duplicates: result.qos2Duplicates }, { lost: 0, qos2Duplicates: 0 })
})

/** A gateway in this process with its data in `dataDir`. */
async function gatewayIn(dataDir: string, workers: number, broker = {}) {
  const gateway = await createGateway({
    workers,
    admin: false,
    dataDir,
    broker,
    listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
  })
  await gateway.start()
  const { port } = new URL(`tcp://${gateway.stats().listeners[0]?.address}`)
  return { gateway, url: `mqtt://127.0.0.1:${port}` }
}

/** The next message, `topic: payload`. */
const nextMessage = (client: mqtt.MqttClient): Promise<string> =>
  new Promise((resolve) => client.once("message", (topic, payload) => resolve(`${topic}: ${payload}`)))

test("retained messages, subscriptions and a queue outlive the gateway and a changed number of workers", async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-data-"))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  const session = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 600 } } as const
  for (const [round, workers] of [2, 1, 3].entries()) {
    const { gateway, url } = await gatewayIn(dataDir, workers)
    try {
      const reader = mqtt.connect(url, { clientId: "reader", ...session })
      const waiting = nextMessage(reader)
      await new Promise((resolve) => reader.once("connect", resolve))
      if (round === 0) await reader.subscribeAsync("a/#", { qos: 1 })
      else {
        t.is(await waiting, `a/queue: round ${round - 1}`)
      }
      await reader.endAsync()
      const writer = await mqtt.connectAsync(url)
      const fresh = await mqtt.connectAsync(url)
      await writer.publishAsync("a/queue", `round ${round}`, { qos: 1 })
      if (round === 0) await writer.publishAsync("b/last", "value", { qos: 1, retain: true })
      const last = nextMessage(fresh)
      await fresh.subscribeAsync("b/+")
      t.is(await last, "b/last: value")
      await writer.endAsync()
      await fresh.endAsync()
    } finally {
      await gateway.close()
    }
  }
})

test("a full disk refuses what would have to be kept, keeps the rest going, and takes it again later", async (t) => {
  // A file system of its own, as small as the kernel makes one; that needs a privilege.
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-small-"))
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=40m", "tmpfs", dataDir]).status === 0
  t.timeout(30_000)
  t.teardown(() => {
    if (mounted) spawnSync("umount", [dataDir])
    rmSync(dataDir, { recursive: true, force: true })
  })
  if (!mounted) return t.pass("no file system can be mounted here")
  const { gateway, url } = await gatewayIn(dataDir, 1, { maxQueued: 1_000_000, maxQueuedBytes: 1 << 30 })
  try {
    const session = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 600 } } as const
    const reader = await mqtt.connectAsync(url, { clientId: "reader", ...session })
    await reader.subscribeAsync("a", { qos: 1 })
    await reader.endAsync()
    const writer = await mqtt.connectAsync(url, { protocolVersion: 5 })
    const payload = Buffer.alloc(60_000, 1)
    const send = (topic: string): Promise<number> =>
      new Promise((resolve) => {
        writer.publish(topic, payload, { qos: 1 }, (error, packet) => {
          const code = (error as { code?: number } | undefined)?.code
          resolve(code ?? (packet as { reasonCode?: number } | undefined)?.reasonCode ?? 0)
        })
      })
    let taken = 0
    let code = 0
    // Room for a second segment of 16 MiB is there, for a third it is not.
    while (code < 0x80 && taken < 1_000) {
      code = await send("a")
      taken++
    }
    t.is(code, 0x97)
    t.true(taken > 100)
    t.true((await send("nobody")) < 0x80, "what nobody keeps is taken")
    spawnSync("mount", ["-o", "remount,size=200m", dataDir])
    for (const end = Date.now() + 5_000; code >= 0x80 && Date.now() < end; ) code = await send("a")
    t.true(code < 0x80, "there is room again")
    await writer.endAsync()
    t.true(readdirSync(join(dataDir, "broker")).length > 0)
  } finally {
    await gateway.close()
  }
})
