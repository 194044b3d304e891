/** While a verdict is due: pings are answered, nobody is taken for dead, order stays. And whom policies hear of that came later. */
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import mqtt from "mqtt"
import type { Field, PolicyMessage, Verdict } from "../../src/index.ts"
import { definePolicy } from "../../src/index.ts"
import { loadNative } from "../../src/native/index.ts"
import { RawClient, start, type Target } from "./raw.ts"

type Decide = (message: PolicyMessage) => Verdict | Promise<Verdict>

function on(hook: string, decide: Decide, fields: Field[] = ["payload"]): object {
  const policy = definePolicy({ name: "probe", deadlineMs: 20_000, fallback: "reject", reads: () => fields, decide })
  return { broker: { hooks: { [hook]: [policy()] } } }
}

/** Holds verdicts until it is opened. */
function closed(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open: () => open() }
}

const publish = (payload: string, messageId: number) => {
  return { cmd: "publish", topic: "n", payload, qos: 1, messageId, dup: false, retain: false }
}
const url = ({ port }: Target, scheme: string): string =>
  `${scheme}://127.0.0.1:${port}${scheme === "ws" ? "/mqtt" : ""}`

/** Longer than one and a half of the clients' keep-alive. */
const LONG_MS = 3_500

test("pings between publishes are answered before the verdict on the first, and the rest keeps its order", async (t) => {
  const gate = closed()
  const asked: (string | null)[] = []
  const target = await start(
    t,
    on("onPublish", async (m) => {
      asked.push(m.text())
      if (m.text() === "1") await gate.opened
    }),
  )
  const { client } = await RawClient.connect(target, { keepalive: 2 })
  client.send(publish("1", 1))
  client.send({ cmd: "pingreq" })
  client.send(publish("2", 2))
  client.send({ cmd: "pingreq" })
  t.is((await client.next())?.cmd, "pingresp")
  t.is((await client.next())?.cmd, "pingresp")
  client.send(publish("3", 3))
  await sleep(LONG_MS)
  t.deepEqual(asked, ["1"])
  gate.open()
  for (const messageId of [1, 2, 3]) t.like(await client.next(), { cmd: "puback", messageId })
  t.deepEqual(asked, ["1", "2", "3"])
  t.deepEqual(await client.settle(), [])
})

test("a goodbye that came while a verdict was due is heard behind it, and so is the end", async (t) => {
  const gate = closed()
  const target = await start(
    t,
    on("onPublish", () => gate.opened),
  )
  const will = { topic: "will", payload: Buffer.from("x"), qos: 0 as const, retain: true }
  const { client } = await RawClient.connect(target, { clientId: "leaver", will })
  client.send(publish("1", 1))
  client.send({ cmd: "pingreq" })
  await client.expect("pingresp")
  client.send({ cmd: "disconnect", reasonCode: 0 })
  await sleep(100)
  gate.open()
  t.is((await client.next())?.cmd, "puback")
  t.is(await client.next(), null)
  const rows = JSON.parse(await target.gateway.native.retained("#")) as { items: object[] }
  t.deepEqual(rows.items, [])
})

for (const [version, scheme] of [
  [4, "mqtt"],
  [5, "ws"],
] as const) {
  test(`who waits for a slow policy stays connected: version ${version} over ${scheme}`, async (t) => {
    const target = await start(
      t,
      on("onPublish", () => sleep(LONG_MS)),
    )
    const options = { protocolVersion: version, keepalive: 2, reconnectPeriod: 0 }
    const client = await mqtt.connectAsync(url(target, scheme), options)
    t.teardown(() => client.endAsync(true))
    for (const text of ["a", "b"]) await client.publishAsync("n", text, { qos: 1 })
    t.true(client.connected)
  })
}

test("a client whose subscription waits for a policy is answered, too", async (t) => {
  const gate = closed()
  const target = await start(
    t,
    on("onSubscribe", () => gate.opened, ["path"]),
  )
  const { client } = await RawClient.connect(target, { keepalive: 2 })
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "n", qos: 0 }] })
  client.send({ cmd: "pingreq" })
  t.is((await client.next())?.cmd, "pingresp")
  await sleep(LONG_MS)
  gate.open()
  t.is((await client.next())?.cmd, "suback")
})

test("onDeliver sees the user of a client that came before the policy", async (t) => {
  const config = { auth: { users: { ann: await loadNative().hashPassword("secret") } } }
  const target = await start(t, config)
  const client = await mqtt.connectAsync(url(target, "mqtt"), { username: "ann", password: "secret" })
  t.teardown(() => client.endAsync(true))
  await client.subscribeAsync("n")
  const got = new Promise<string>((resolve) => client.once("message", (_, payload) => resolve(String(payload))))
  const change: Decide = (m) => ({ payload: `${m.text()} for ${m.user}` })
  await target.gateway.reload({
    workers: 2,
    admin: false,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
    ...config,
    ...on("onDeliver", change, ["payload", "user"]),
  })
  await client.publishAsync("n", "hello")
  t.is(await got, "hello for ann")
})
