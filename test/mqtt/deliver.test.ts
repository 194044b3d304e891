/** `onDeliver` for clients of other brokers: what passes, is changed or withheld, and what the broker and the client see of it. */
import { setTimeout as sleep } from "node:timers/promises"
import anyTest, { type ExecutionContext, type TestFn } from "ava"
import mqtt, { type IClientOptions, type MqttClient } from "mqtt"
import type { PolicyMessage, Verdict } from "../../src/index.ts"
import { definePolicy, topic } from "../../src/index.ts"
import { hasMosquitto, mosquitto } from "./mosquitto.ts"
import { counted, start, type Target } from "./raw.ts"

const test = (hasMosquitto || process.env.CI ? anyTest : anyTest.skip) as TestFn

type Decide = (message: PolicyMessage) => Verdict | Promise<Verdict>

/** A gateway whose MQTT clients are all served by one mosquitto, with a policy for deliveries. */
function config(behind: { readonly port: number }, decide: Decide | null, rest: object = {}): object {
  const policy =
    decide &&
    definePolicy({
      name: "probe",
      deadlineMs: 5_000,
      fallback: "reject",
      reads: () => ["payload", "qos", "retain", "hook", "user"],
      decide,
      ...rest,
    })
  return {
    workers: 2,
    admin: false,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
    upstreams: { brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind.port}`] } },
    routes: [{ when: { protocol: "mqtt" }, to: "brokers" }],
    broker: { hooks: { onDeliver: policy ? [policy()] : [] } },
  }
}

interface Reader {
  readonly client: MqttClient
  readonly got: { readonly topic: string; readonly text: string; readonly packet: mqtt.IPublishPacket }[]
}

async function reader(t: ExecutionContext<unknown>, url: string, options: IClientOptions = {}): Promise<Reader> {
  const client = await mqtt.connectAsync(url, options)
  t.teardown(() => client.endAsync(true))
  const got: Reader["got"] = []
  client.on("message", (topic, payload, packet) => got.push({ topic, text: String(payload), packet }))
  return { client, got }
}

const url = ({ port }: { readonly port: number }): string => `mqtt://127.0.0.1:${port}`

async function until(holds: () => boolean, say: () => string): Promise<void> {
  for (const end = Date.now() + 10_000; !holds(); await sleep(20)) {
    if (Date.now() > end) throw new Error(`it never came to that: ${say()}`)
  }
}

const texts = ({ got }: Reader) => got.map(({ text }) => text)
const dropped = (target: Target, reason: string) =>
  counted(target, "tidegate_dropped_total", { protocol: "mqtt", reason })

for (const [version, scheme] of [
  [4, "mqtt"],
  [5, "mqtt"],
  [5, "ws"],
] as const) {
  test(`messages of every QoS pass, change and are withheld in their order: version ${version} over ${scheme}`, async (t) => {
    // More in flight than that and the broker waits: what is withheld has to be acknowledged.
    const behind = await mosquitto(t, ["max_inflight_messages 3", "max_queued_messages 1000"])
    // mosquitto sends a new message before queued ones when its window has just opened: what counts is its order.
    const asked: number[] = []
    const target = await start(
      t,
      config(behind, async (m) => {
        const n = Number(m.text())
        asked.push(n)
        await sleep(Math.random() * 3)
        if (n % 3 === 1) return n % 2 === 0 ? "reject" : { drop: true }
        return n % 3 === 2 ? { payload: `<${m.attribute("qos")} ${n}>`, topic: `new/${m.topic}` } : undefined
      }),
    )
    const address = `${scheme}://127.0.0.1:${target.port}${scheme === "ws" ? "/mqtt" : ""}`
    const own = await reader(t, address, { protocolVersion: version, clientId: "own" })
    await own.client.subscribeAsync("n", { qos: 2 })
    const { client: sender } = await reader(t, url(behind), { protocolVersion: version })
    for (let n = 0; n < 60; n++)
      await sender.publishAsync("n", String(n), { qos: (Math.floor(n / 3) % 3) as 0 | 1 | 2 })
    await until(
      () => own.got.length >= 40,
      () => texts(own).join(),
    )
    t.deepEqual(
      asked.toSorted((a, b) => a - b),
      Array.from({ length: 60 }, (_, n) => n),
    )
    // mqtt.js shows a message of QoS 2 when it is released: each QoS has its order.
    for (const qos of [0, 1, 2]) {
      const passed = asked.filter((n) => Math.floor(n / 3) % 3 === qos && n % 3 !== 1)
      t.deepEqual(
        own.got.filter(({ packet }) => packet.qos === qos).map(({ topic, text }) => `${topic} ${text}`),
        passed.map((n) => (n % 3 === 2 ? `new/n <${qos} ${n}>` : `n ${n}`)),
      )
    }
    t.is(dropped(target, "policy"), 20)
    t.is(counted(target, "tidegate_messages_total", { protocol: "mqtt", direction: "out" }), 40)
  })
}

test("a changed message keeps its properties, flags and subscription identifiers; a retained one too", async (t) => {
  const behind = await mosquitto(t)
  const seen: (string | null)[] = []
  const target = await start(
    t,
    config(
      behind,
      (m) => {
        seen.push([m.clientId, m.user, m.attribute("hook"), m.attribute("retain"), m.header("kept")].join())
        return { payload: `${m.text()}!`, setHeaders: { by: "policy" }, removeHeaders: ["noise"] }
      },
      { reads: () => ["payload", "retain", "hook", "user", { header: "kept" }] },
    ),
  )
  const { client: sender } = await reader(t, url(behind), { protocolVersion: 5 })
  await sender.publishAsync("kept/a", "old", {
    qos: 1,
    retain: true,
    properties: {
      contentType: "text/plain",
      responseTopic: "answers",
      correlationData: Buffer.from("c"),
      messageExpiryInterval: 1_000,
      payloadFormatIndicator: true,
      userProperties: { noise: "1", kept: "2" },
    },
  })
  const own = await reader(t, url(target), { protocolVersion: 5, clientId: "own", username: "ann" })
  await own.client.subscribeAsync("kept/#", { qos: 1, properties: { subscriptionIdentifier: 77 } })
  await until(
    () => own.got.length === 1,
    () => "nothing came",
  )
  t.like(own.got[0], { topic: "kept/a", text: "old!" })
  const packet = own.got[0]?.packet
  t.like(packet, { qos: 1, retain: true })
  const { userProperties, messageExpiryInterval, ...rest } = packet?.properties ?? {}
  t.deepEqual({ ...userProperties }, { kept: "2", by: "policy" })
  t.true(Number(messageExpiryInterval) > 900 && Number(messageExpiryInterval) <= 1_000)
  t.like(rest, { contentType: "text/plain", responseTopic: "answers", payloadFormatIndicator: true })
  t.is(String(rest.correlationData), "c")
  t.is(Number(rest.subscriptionIdentifier), 77)
  t.deepEqual(seen, ["own,ann,deliver,true,2"])
})

test("what is too large behind a change is dropped with a reason and acknowledged", async (t) => {
  const behind = await mosquitto(t, ["max_inflight_messages 2"])
  const target = await start(
    t,
    config(behind, (m) => (m.text() === "grow" ? { payload: "x".repeat(1_000) } : undefined)),
  )
  const own = await reader(t, url(target), { protocolVersion: 5, properties: { maximumPacketSize: 200 } })
  await own.client.subscribeAsync("n", { qos: 2 })
  const { client: sender } = await reader(t, url(behind))
  for (const qos of [1, 2, 1, 2, 1, 2] as const) await sender.publishAsync("n", "grow", { qos })
  await sender.publishAsync("n", "small", { qos: 1 })
  await until(
    () => own.got.length === 1,
    () => "nothing came",
  )
  t.deepEqual(texts(own), ["small"])
  t.is(dropped(target, "packet-too-large"), 6)
})

test("an invalid topic is none: the message is withheld", async (t) => {
  const behind = await mosquitto(t)
  const target = await start(
    t,
    config(behind, (m) => (m.text() === "bad" ? { topic: "a/#" } : undefined)),
  )
  const own = await reader(t, url(target))
  await own.client.subscribeAsync("n", { qos: 1 })
  const { client: sender } = await reader(t, url(behind))
  for (const text of ["bad", "good"]) await sender.publishAsync("n", text, { qos: 1 })
  await until(
    () => own.got.length === 1,
    () => "nothing came",
  )
  t.deepEqual(texts(own), ["good"])
  t.is(dropped(target, "policy"), 1)
})

test("no verdict means the fallback: withheld, or as it came", async (t) => {
  const behind = await mosquitto(t)
  const never: Decide = (m) => (m.text() === "throws" ? Promise.reject(new Error("no")) : new Promise(() => {}))
  for (const [fallback, expected] of [
    ["reject", ["last"]],
    ["continue", ["late", "throws", "last"]],
  ] as const) {
    const filter = () => topic("asked/#")
    const target = await start(t, config(behind, never, { fallback, deadlineMs: 200, filter }))
    const own = await reader(t, url(target))
    await own.client.subscribeAsync(["asked/a", "other"], { qos: 1 })
    const { client: sender } = await reader(t, url(behind))
    await sender.publishAsync("asked/a", "late", { qos: 1 })
    await sender.publishAsync("asked/a", "throws", { qos: 1 })
    await sender.publishAsync("other", "last", { qos: 1 })
    await until(
      () => texts(own).includes("last"),
      () => texts(own).join(),
    )
    t.deepEqual(texts(own), expected)
    t.is(dropped(target, "policy"), fallback === "reject" ? 2 : 0)
  }
})

test("a policy that takes its time holds nobody else up", async (t) => {
  const behind = await mosquitto(t)
  let release: () => void = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  const target = await start(t, {
    ...config(behind, async (m) => void (m.clientId === "slow" && (await held)), { deadlineMs: 30_000 }),
    workers: 1,
  })
  const [slow, quick] = [await reader(t, url(target), { clientId: "slow" }), await reader(t, url(target))]
  for (const { client } of [slow, quick]) await client.subscribeAsync("n", { qos: 1 })
  const { client: sender } = await reader(t, url(behind))
  for (let n = 0; n < 10; n++) await sender.publishAsync("n", String(n), { qos: (n % 2) as 0 | 1 })
  await until(
    () => quick.got.length === 10,
    () => texts(quick).join(),
  )
  t.is(slow.got.length, 0)
  // Its own publishes go on: only what is delivered waits.
  const other = await reader(t, url(behind))
  await other.client.subscribeAsync("elsewhere")
  await slow.client.publishAsync("elsewhere", "x")
  await until(
    () => other.got.length === 1,
    () => "it does not publish",
  )
  release()
  await until(
    () => slow.got.length === 10,
    () => texts(slow).join(),
  )
  t.deepEqual(texts(slow), texts(quick))
})

test("a policy holds from the change on that brings it, and no longer than the one that takes it away", async (t) => {
  const behind = await mosquitto(t)
  const target = await start(t, config(behind, null))
  const own = await reader(t, url(target), { protocolVersion: 5, clientId: "own", username: "ann" })
  await own.client.subscribeAsync("n", { qos: 2 })
  const { client: sender } = await reader(t, url(behind))
  const send = async (...all: string[]) => {
    for (const text of all) await sender.publishAsync("n", text, { qos: 2 })
    await until(
      () =>
        texts(own)
          .at(-1)
          ?.includes(all.at(-1) ?? "") === true,
      () => texts(own).join(),
    )
  }
  await send("before")
  await target.gateway.reload(
    config(behind, (m) => (m.text() === "no" ? "reject" : { payload: `${m.text()} ${m.user}` })),
  )
  await send("no", "during")
  await target.gateway.reload(config(behind, () => ({ payload: "other" })))
  await send("other")
  await target.gateway.reload(config(behind, null))
  await send("no", "after")
  t.deepEqual(texts(own), ["before", "during ann", "other", "no", "after"])
})
