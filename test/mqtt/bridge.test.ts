/** The bridge role, with mosquitto on the other side: prefixes, both ways, a line that breaks, nothing lost at QoS 1. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import anyTest, { type TestFn } from "ava"
import mqtt, { type MqttClient } from "mqtt"
import { hasMosquitto, mosquitto } from "./mosquitto.ts"
import { start } from "./raw.ts"

const test = (hasMosquitto || process.env.CI ? anyTest : anyTest.skip) as TestFn

/** What arrives under a filter, `topic payload`. */
async function collect(client: MqttClient, filter: string): Promise<string[]> {
  const seen: string[] = []
  client.on("message", (topic, payload) => seen.push(`${topic} ${payload}`))
  await client.subscribeAsync(filter, { qos: 1 })
  return seen
}

async function until(check: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = Date.now() + 15_000; !(await check()); await sleep(20)) {
    if (Date.now() > end) throw new Error(`still not so: ${check}`)
  }
}

test("MQTT3-7.0.0-1: topics go out to another server and come in under their prefixes, and nothing runs in a circle", async (t) => {
  const { port: there } = await mosquitto(t)
  const bridge = {
    to: `mqtt://127.0.0.1:${there}`,
    out: [{ topic: "both/#" }, { topic: "sensor/#", remotePrefix: "site1/" }],
    in: [{ topic: "both/#" }, { topic: "command/#", localPrefix: "cloud/" }],
  }
  const target = await start(t, { bridges: { site: bridge } })
  const here = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`)
  const cloud = await mqtt.connectAsync(`mqtt://127.0.0.1:${there}`)
  const [seenHere, seenThere] = [await collect(here, "#"), await collect(cloud, "#")]
  // The bridge subscribes when it is connected: what comes before has nobody to take it.
  await until(async () => {
    await here.publishAsync("sensor/ready", "1")
    return seenThere.includes("site1/sensor/ready 1")
  })
  await until(async () => {
    await cloud.publishAsync("command/ready", "1")
    return seenHere.includes("cloud/command/ready 1")
  })
  await here.publishAsync("sensor/a", "21", { qos: 1 })
  await cloud.publishAsync("command/a", "on", { qos: 1 })
  await here.publishAsync("both/from-here", "x", { qos: 1 })
  await cloud.publishAsync("both/from-there", "y", { qos: 1 })
  await until(() => seenThere.includes("both/from-here x") && seenHere.includes("both/from-there y"))
  await sleep(300)
  const count = (seen: readonly string[], line: string): number => seen.filter((one) => one === line).length
  t.is(count(seenThere, "site1/sensor/a 21"), 1)
  t.is(count(seenHere, "cloud/command/a on"), 1)
  for (const seen of [seenHere, seenThere]) {
    t.is(count(seen, "both/from-here x"), 1)
    t.is(count(seen, "both/from-there y"), 1)
  }
  t.false(seenThere.some((line) => line.startsWith("command/a") && count(seenThere, line) > 1))
  await Promise.all([here.endAsync(), cloud.endAsync()])
})

test("while the line is broken QoS 1 waits here, and all of it arrives in order", async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-bridge-"))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  const broker = await mosquitto(t)
  const bridge = { name: "line", to: `mqtt://127.0.0.1:${broker.port}`, out: [{ topic: "data/#" }] }
  const target = await start(t, { dataDir, bridges: [bridge], broker: { maxQueued: 10_000 } })
  const here = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`)
  await until(async () => {
    const { items } = JSON.parse(await target.gateway.native.mqttClients("{}")) as {
      items: { clientId: string; subscriptions: unknown[] }[]
    }
    return items.some(({ clientId, subscriptions }) => clientId === "bridge-line" && subscriptions.length === 1)
  })
  await broker.stop()
  const sent = Array.from({ length: 200 }, (_, n) => `data/x ${n}`)
  for (const [n] of sent.entries()) await here.publishAsync("data/x", String(n), { qos: 1 })
  await broker.start()
  const cloud = await mqtt.connectAsync(`mqtt://127.0.0.1:${broker.port}`)
  const seen = await collect(cloud, "data/#")
  // mosquitto forgot everything when it ended: what came before this subscription is not seen.
  await until(() => seen.at(-1) === sent.at(-1))
  t.deepEqual(seen, sent.slice(sent.length - seen.length))
  await Promise.all([here.endAsync(), cloud.endAsync()])
})

test("mosquitto bridges to the gateway, which knows it by its CONNECT: nothing comes back, RETAIN stays", async (t) => {
  const target = await start(t)
  const { port: there } = await mosquitto(t, [
    "connection up",
    `address 127.0.0.1:${target.port}`,
    "topic both/# both 1",
  ])
  const here = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`)
  const site = await mqtt.connectAsync(`mqtt://127.0.0.1:${there}`)
  const [seenHere, seenThere] = [await collect(here, "both/#"), await collect(site, "both/#")]
  await until(async () => {
    await site.publishAsync("both/ready", "1")
    return seenHere.includes("both/ready 1")
  })
  await site.publishAsync("both/up", "21", { qos: 1 })
  await here.publishAsync("both/down", "on", { qos: 1, retain: true })
  await until(() => seenHere.includes("both/up 21") && seenThere.includes("both/down on"))
  await sleep(300)
  for (const seen of [seenHere, seenThere]) {
    t.is(seen.filter((line) => line === "both/up 21").length, 1)
    t.is(seen.filter((line) => line === "both/down on").length, 1)
  }
  const late = await mqtt.connectAsync(`mqtt://127.0.0.1:${there}`)
  const kept = await collect(late, "both/down")
  await until(() => kept.length > 0)
  await Promise.all([here.endAsync(), site.endAsync(), late.endAsync()])
})
