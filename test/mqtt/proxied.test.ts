/** Clients of other brokers: routed by user and by the topic of their will; hooks, steps and rules hold for each packet. */
import anyTest, { type ExecutionContext, type TestFn } from "ava"
import mqtt from "mqtt"
import { definePolicy } from "../../src/index.ts"
import { hasMosquitto, mosquitto } from "./mosquitto.ts"
import { counted, RawClient, start, type Target } from "./raw.ts"

const test = (hasMosquitto || process.env.CI ? anyTest : anyTest.skip) as TestFn

const upstream = ({ port }: { readonly port: number }) => ({ protocol: "mqtt", endpoints: [`127.0.0.1:${port}`] })
const ROUTES = [{ when: { protocol: "mqtt" }, to: "brokers" }]

/** What arrives at a broker, as "topic payload". */
async function watch(t: ExecutionContext<unknown>, { port }: { readonly port: number }): Promise<string[]> {
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5 })
  t.teardown(() => client.endAsync(true))
  const seen: string[] = []
  client.on("message", (topic, payload) => seen.push(`${topic} ${payload}`))
  await client.subscribeAsync("#", { qos: 2 })
  return seen
}

async function until(t: ExecutionContext<unknown>, holds: () => boolean, say: () => string): Promise<void> {
  for (const end = Date.now() + 5_000; !holds(); await new Promise((resolve) => setTimeout(resolve, 20))) {
    if (Date.now() > end) return t.fail(say())
  }
}

const connack = async (target: Target, options: object) => {
  const { client, connack } = await RawClient.connect(target, options)
  return { client, code: (connack as { reasonCode?: number } | null)?.reasonCode }
}

async function publish(client: RawClient, packet: object, qos: 1 | 2 = 1): Promise<number> {
  client.send({ cmd: "publish", payload: "x", qos, messageId: 7, dup: false, retain: false, ...packet })
  const answer = await client.expect(qos === 1 ? "puback" : "pubrec")
  return answer.reasonCode ?? 0
}

test("a route asks for the user, who has to prove it where the gateway knows users", async (t) => {
  const [plant, office] = await Promise.all([mosquitto(t), mosquitto(t)])
  const [atPlant, atOffice] = await Promise.all([watch(t, plant), watch(t, office)])
  const routes = [
    { when: { protocol: "mqtt", user: { regex: "plant-.*" } }, to: "plant" },
    { when: { user: "office" }, to: "office" },
  ]
  const upstreams = { plant: upstream(plant), office: upstream(office) }
  const open = await start(t, { upstreams, routes })
  const say = async (target: Target, username: string | undefined, topic: string, password?: string) => {
    const login = { ...(username && { username }), ...(password && { password: Buffer.from(password) }) }
    const { client, code } = await connack(target, login)
    return code === 0 ? publish(client, { topic }) : code
  }
  t.is(await say(open, "plant-7", "a"), 0)
  t.is(await say(open, "office", "b"), 0)
  t.is(await say(open, "nobody", "c"), 0x10, "the gateway's own broker serves the rest, and nobody listens there")
  await until(
    t,
    () => atPlant.length + atOffice.length === 2,
    () => [...atPlant, ...atOffice].join(),
  )
  t.deepEqual([atPlant, atOffice], [["a x"], ["b x"]])
  const byHook = definePolicy({
    name: "names",
    deadlineMs: 5_000,
    reads: () => ["username", "password"],
    decide: (message) =>
      message.attribute("password") === "right" ? { user: "plant-9" } : { reject: { reason: 0x86 } },
  })
  const proven = await start(t, { upstreams, routes, broker: { hooks: { onAuthenticate: [byHook()] } } })
  t.is(await say(proven, "office", "d", "wrong"), 0x86)
  t.is(await say(proven, "office", "e", "right"), 0, "who it proves to be counts, not what it says")
  await until(
    t,
    () => atPlant.length === 2,
    () => atPlant.join(),
  )
  t.deepEqual([atPlant, atOffice], [["a x", "e x"], ["b x"]])
})

test("a route asks for the topic of the will, the only one that a CONNECT names", async (t) => {
  const behind = await mosquitto(t)
  const seen = await watch(t, behind)
  const routes = [{ when: { topic: "site/a/#" }, to: "brokers" }]
  const target = await start(t, { upstreams: { brokers: upstream(behind) }, routes })
  const will = (topic: string) => ({ will: { topic, payload: Buffer.from("gone"), qos: 1 as const, retain: false } })
  const { client: there } = await connack(target, { clientId: "there", ...will("site/a/1") })
  const { client: here } = await connack(target, { clientId: "here", ...will("site/b/1") })
  t.is(await publish(there, { topic: "from/there" }), 0)
  t.is(await publish(here, { topic: "from/here" }), 0x10)
  there.drop()
  here.drop()
  await until(
    t,
    () => seen.length === 2,
    () => seen.join(),
  )
  t.deepEqual(seen, ["from/there x", "site/a/1 gone"])
})

test("hooks see, change, drop and refuse what a proxied client publishes, at every QoS and by alias", async (t) => {
  const behind = await mosquitto(t)
  const seen = await watch(t, behind)
  const decide = definePolicy({
    name: "probe",
    deadlineMs: 5_000,
    reads: () => ["payload"],
    decide: (message) => {
      if (message.topic?.startsWith("secret/")) return "reject"
      if (message.topic?.startsWith("noise/")) return { drop: true }
      if (message.topic?.startsWith("raw/")) return { topic: `clean/${message.topic}`, payload: `<${message.text()}>` }
      return undefined
    },
  })
  const target = await start(t, {
    upstreams: { brokers: upstream(behind) },
    routes: ROUTES,
    broker: { hooks: { onPublish: [decide()] } },
  })
  const { client } = await connack(target, { clientId: "p" })
  for (const qos of [1, 2] as const) {
    t.is(await publish(client, { topic: "secret/a" }, qos), 0x87)
    t.is(await publish(client, { topic: "noise/a" }, qos), 0)
    if (qos === 2) {
      client.send({ cmd: "pubrel", messageId: 7 })
      t.is((await client.expect("pubcomp")).reasonCode ?? 0, 0, "answered here, since it never arrived there")
    }
    t.is(await publish(client, { topic: "raw/a", payload: `q${qos}` }, qos), 0)
    if (qos === 2) {
      client.send({ cmd: "pubrel", messageId: 7 })
      t.is((await client.expect("pubcomp")).reasonCode ?? 0, 0)
    }
  }
  const aliased = (topic: string, payload: string) => publish(client, { topic, payload, properties: { topicAlias: 3 } })
  t.is(await aliased("raw/b", "set"), 0)
  t.is(await aliased("", "used"), 0)
  t.is(await aliased("secret/b", "set"), 0x87)
  t.is(await aliased("", "used"), 0x87, "an alias hides no topic")
  t.is(await aliased("plain", "set"), 0)
  t.is(await aliased("", "used"), 0)
  await until(
    t,
    () => seen.length === 6,
    () => seen.join(),
  )
  // The broker may deliver QoS 2 behind what came later.
  t.deepEqual(seen.toSorted(), [
    "clean/raw/a <q1>",
    "clean/raw/a <q2>",
    "clean/raw/b <set>",
    "clean/raw/b <used>",
    "plain set",
    "plain used",
  ])
  t.is(counted(target, "tidegate_dropped_total", { reason: "policy" }), 2)
})

test("an alias whose first publish the rules forbid does not hide its topic, and its next is told the broker whole", async (t) => {
  const behind = await mosquitto(t)
  const seen = await watch(t, behind)
  const target = await start(t, {
    upstreams: { brokers: upstream(behind) },
    routes: ROUTES,
    auth: { acl: [{ allow: "all", topic: "open/#" }] },
  })
  const { client } = await connack(target, { clientId: "p" })
  const aliased = (topic: string, alias: number) => publish(client, { topic, properties: { topicAlias: alias } })
  t.is(await aliased("secret", 1), 0x87)
  t.is(await aliased("", 1), 0x87)
  t.is(await aliased("open/a", 1), 0)
  t.is(await aliased("", 1), 0)
  await until(
    t,
    () => seen.length === 2,
    () => seen.join(),
  )
  t.deepEqual(seen, ["open/a x", "open/a x"])
  client.send({ cmd: "publish", topic: "", qos: 0, payload: "x", properties: { topicAlias: 9 } })
  t.deepEqual(await client.closed(), { closed: true, code: 0x82 }, "an alias that was never set")
})

test("onSubscribe of a proxied client lowers, rewrites and refuses filters", async (t) => {
  const behind = await mosquitto(t)
  const decide = definePolicy({
    name: "probe",
    deadlineMs: 5_000,
    decide: (message) => {
      if (message.topic?.startsWith("secret")) return { reject: { reason: 0x97 } }
      return message.topic === "mine" ? { topic: "tenant/mine", qos: 0 } : undefined
    },
  })
  const target = await start(t, {
    upstreams: { brokers: upstream(behind) },
    routes: ROUTES,
    broker: { hooks: { onSubscribe: [decide()] } },
  })
  const { client } = await connack(target, { clientId: "s" })
  const ask = async (...filters: string[]) => {
    client.send({ cmd: "subscribe", messageId: 4, subscriptions: filters.map((topic) => ({ topic, qos: 1 })) })
    return (await client.expect("suback")).granted
  }
  t.deepEqual(await ask("secret/a", "b"), [0x97, 0x83])
  t.deepEqual(await ask("mine", "b"), [0, 1])
  const { client: other } = await connack(target, { clientId: "o" })
  t.is(await publish(other, { topic: "tenant/mine" }), 0)
  t.like(await client.expect("publish"), { topic: "tenant/mine", qos: 0 })
})

test("the steps of its route limit each publish: size, rate, and what a policy says", async (t) => {
  const behind = await mosquitto(t)
  const seen = await watch(t, behind)
  const steps = [
    { bodyLimit: { bytes: 100 } },
    { rateLimit: { perSecond: 0.001, burst: 3, key: "clientId" } },
    { rewrite: { topic: "in/{topic}" } },
  ]
  const routes = [{ when: { protocol: "mqtt" }, to: "brokers", use: steps }]
  const listeners = [{ address: "tcp://127.0.0.1:0", protocols: "detect" }]
  const base = { workers: 2, admin: false, dataDir: false, listeners }
  const config = { ...base, upstreams: { brokers: upstream(behind) }, routes }
  const target = await start(t, config)
  const { client } = await connack(target, { clientId: "p" })
  t.is(await publish(client, { topic: "a", payload: "x".repeat(101) }), 0x83)
  t.is(await publish(client, { topic: "a", payload: "x".repeat(100) }), 0)
  t.deepEqual([await publish(client, { topic: "b" }), await publish(client, { topic: "c" })], [0, 0])
  t.is(await publish(client, { topic: "d" }), 0x97)
  const { client: other } = await connack(target, { clientId: "q" })
  t.is(await publish(other, { topic: "e" }), 0, "each client has its own bucket")
  await target.gateway.reload({ ...config, log: { sampleEvery: 2 } })
  t.is(await publish(client, { topic: "f" }), 0x97, "the same bucket and the same limits behind a change")
  t.is(await publish(other, { topic: "f", payload: "x".repeat(101) }), 0x83)
  await until(
    t,
    () => seen.length === 4,
    () => seen.join(),
  )
  t.deepEqual(
    seen.map((line) => line.split(" ")[0]),
    ["in/a", "in/b", "in/c", "in/e"],
  )
})

test("pings of a proxied client pass what waits for a verdict, and its broker answers them", async (t) => {
  const behind = await mosquitto(t)
  const seen = await watch(t, behind)
  let open = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const waits = definePolicy({
    name: "waits",
    deadlineMs: 20_000,
    fallback: "reject",
    decide: async () => {
      await opened
      return undefined
    },
  })
  const target = await start(t, {
    upstreams: { brokers: upstream(behind) },
    routes: ROUTES,
    broker: { hooks: { onPublish: [waits()], onSubscribe: [waits()] } },
  })
  const { client } = await connack(target, { clientId: "pings" })
  const { client: subscriber } = await connack(target, { clientId: "waits" })
  client.send({ cmd: "publish", topic: "a", payload: "1", qos: 1, messageId: 1, dup: false, retain: false })
  subscriber.send({ cmd: "subscribe", messageId: 2, subscriptions: [{ topic: "b", qos: 0 }] })
  for (const waiting of [client, subscriber]) {
    waiting.send({ cmd: "pingreq" })
    t.is((await waiting.next())?.cmd, "pingresp")
  }
  client.send({ cmd: "publish", topic: "a", payload: "2", qos: 1, messageId: 3, dup: false, retain: false })
  client.send({ cmd: "pingreq" })
  t.is((await client.next())?.cmd, "pingresp")
  t.deepEqual(seen, [])
  open()
  for (const messageId of [1, 3]) t.like(await client.next(), { cmd: "puback", messageId })
  t.like(await subscriber.next(), { cmd: "suback", messageId: 2 })
  t.deepEqual(seen, ["a 1", "a 2"])
})
