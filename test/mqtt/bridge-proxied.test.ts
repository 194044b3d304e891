/** A bridge whose broker stands behind the gateway: that broker knows it for one, and nothing comes back to it. */
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import mqtt, { type MqttClient } from "mqtt"
import { fakeBroker } from "./fake-broker.ts"
import { hasMosquitto, mosquitto } from "./mosquitto.ts"
import { start, type Target } from "./raw.ts"

/** A gateway that hands every client named so to the broker behind it. */
const before = (t: Parameters<typeof start>[0], port: number, use: readonly object[] = []): Promise<Target> =>
  start(t, {
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${port}`] } },
    routes: [{ when: { protocol: "mqtt", clientId: { regex: "fleet-.*" } }, to: "brokers", use }],
  })

const will = { topic: "state", payload: Buffer.from("gone"), qos: 1 as const, retain: false }

for (const protocolVersion of [3, 4] as const)
  test(`the level of a bridge of version ${protocolVersion} arrives as it was, and that of others too, with a will that is changed too`, async (t) => {
    const behind = await fakeBroker(t)
    const plain = await before(t, behind.port)
    const rewriting = await before(t, behind.port, [{ rewrite: { topic: "site/{topic}" } }])
    for (const [target, topic] of [
      [plain, "state"],
      [rewriting, "site/state"],
    ] as const)
      for (const bridgeMode of [true, false]) {
        const { connect } = await behind.meet(target, { clientId: "fleet-1", protocolVersion, bridgeMode, will })
        t.is((connect as { bridgeMode?: boolean }).bridgeMode ?? false, bridgeMode)
        t.like(connect, { protocolVersion, clientId: "fleet-1", will: { topic } })
      }
  })

/** What arrives under a filter, `topic payload`. */
async function collect(client: MqttClient, filter: string): Promise<string[]> {
  const seen: string[] = []
  client.on("message", (topic, payload) => seen.push(`${topic} ${payload}`))
  await client.subscribeAsync(filter, { qos: 1 })
  return seen
}

const testMosquitto = hasMosquitto || process.env.CI ? test : test.skip

testMosquitto("mosquitto bridges to mosquitto through the gateway: each message once, RETAIN stays", async (t) => {
  const { port: behind } = await mosquitto(t)
  const target = await before(t, behind)
  const { port: there } = await mosquitto(t, [
    "connection up",
    `address 127.0.0.1:${target.port}`,
    "remote_clientid fleet-site",
    "topic both/# both 1",
  ])
  const cloud = await mqtt.connectAsync(`mqtt://127.0.0.1:${behind}`)
  const site = await mqtt.connectAsync(`mqtt://127.0.0.1:${there}`)
  const [above, below] = [await collect(cloud, "both/#"), await collect(site, "both/#")]
  for (const end = Date.now() + 15_000; !above.includes("both/ready 1") && Date.now() < end; await sleep(20))
    await site.publishAsync("both/ready", "1")
  await site.publishAsync("both/up", "21", { qos: 1 })
  await cloud.publishAsync("both/down", "on", { qos: 1, retain: true })
  await sleep(500)
  for (const seen of [above, below])
    for (const line of ["both/up 21", "both/down on"]) t.is(seen.filter((one) => one === line).length, 1)
  const late = await mqtt.connectAsync(`mqtt://127.0.0.1:${there}`)
  const kept = await collect(late, "both/down")
  for (const end = Date.now() + 5_000; kept.length === 0 && Date.now() < end; ) await sleep(20)
  t.deepEqual(kept, ["both/down on"])
  await Promise.all([cloud, site, late].map((client) => client.endAsync()))
})
