/** Policies as hooks of the broker: what each sees, may change and refuse, and what holds meanwhile. */
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { setTimeout as sleep } from "node:timers/promises"
import test from "ava"
import mqtt from "mqtt"
import type { Field, PolicyMessage, Verdict } from "../../src/index.ts"
import { definePolicy, topic } from "../../src/index.ts"
import { counted, RawClient, sessions, start, type Target } from "./raw.ts"

const subscribe = (filter: string, qos = 0) => ({
  cmd: "subscribe",
  messageId: 1,
  subscriptions: [{ topic: filter, qos }],
})
const publish = (to: string, payload: string | Buffer, rest: object = {}) => {
  return { cmd: "publish", topic: to, payload, qos: 0, dup: false, retain: false, ...rest }
}
type Decide = (message: PolicyMessage) => Verdict | Promise<Verdict>

/** One policy on one hook. */
function on(hook: string, decide: Decide, rest: object = {}): object {
  const policy = definePolicy({ name: "probe", deadlineMs: 5_000, fallback: "reject", decide, ...rest })
  return { broker: { hooks: { [hook]: [policy()] } } }
}
const reads = (...fields: Field[]) => ({ reads: () => fields })
const url = ({ port }: Target): string => `mqtt://127.0.0.1:${port}`

/** How often a policy came to which end. */
const calls = (target: Target, outcome: string): number =>
  counted(target, "tidegate_policy_calls_total", { policy: "probe", outcome })

test("onConnect sees the CONNECT and refuses with a reason code and a text", async (t) => {
  const seen: unknown[] = []
  const fields = reads(
    "username",
    "password",
    "version",
    "cleanStart",
    "keepAlive",
    "sessionExpiry",
    "willTopic",
    "hook",
  )
  const target = await start(
    t,
    on(
      "onConnect",
      (m) => {
        const names = ["hook", "username", "version", "cleanStart", "keepAlive", "sessionExpiry", "willTopic"] as const
        seen.push([m.clientId, ...names.map((name) => m.attribute(name))])
        return m.clientId === "bad" ? { reject: { reason: 0x8a, body: "banned" } } : undefined
      },
      fields,
    ),
  )
  const { connack } = await RawClient.connect(target, {
    clientId: "bad",
    keepalive: 30,
    properties: { sessionExpiryInterval: 7 },
    will: { topic: "w", payload: Buffer.from("x"), qos: 0, retain: false },
  })
  t.like(connack, { cmd: "connack", reasonCode: 0x8a, properties: { reasonString: "banned" } })
  const old = await RawClient.connect(target, { clientId: "bad", protocolVersion: 4 })
  t.like(old.connack, { cmd: "connack", returnCode: 5 })
  const { connack: good } = await RawClient.connect(target, { clientId: "good" })
  t.like(good, { reasonCode: 0 })
  t.deepEqual(seen, [
    ["bad", "connect", null, "5", "true", "30", "7", "w"],
    ["bad", "connect", null, "3.1.1", "true", "60", "0", null],
    ["good", "connect", null, "5", "true", "60", "0", null],
  ])
})

test("onConnect names the client, sets its terms and tells it something", async (t) => {
  const target = await start(
    t,
    on("onConnect", () => ({
      clientId: "named",
      keepAliveS: 5,
      sessionExpiryS: 3,
      setHeaders: { region: "north" },
    })),
  )
  const { connack } = await RawClient.connect(target, {
    clientId: "own",
    properties: { sessionExpiryInterval: 100 },
  })
  t.like(connack, { properties: { serverKeepAlive: 5, userProperties: { region: "north" } } })
  t.deepEqual(
    (await sessions(target)).map(({ clientId }) => clientId),
    ["named"],
  )
})

test("onAuthenticate says who it is, with rules; who it does not know goes on to auth", async (t) => {
  const config = on(
    "onAuthenticate",
    (m) => {
      const user = m.attribute("username")
      if (user === "ann") {
        return m.attribute("password") === "right"
          ? { user: "ann", acl: [{ allow: "all", topic: "%u/#" }] }
          : { reject: { reason: 0x86 } }
      }
      return undefined
    },
    reads("username", "password"),
  )
  const target = await start(t, { ...config, auth: { acl: [{ deny: "all", topic: "#" }] } })
  const ann = { username: "ann", password: Buffer.from("right") }
  const { client } = await RawClient.connect(target, ann)
  client.send(subscribe("ann/#"))
  t.deepEqual((await client.expect("suback")).granted, [0])
  client.send(subscribe("bob/#"))
  t.deepEqual((await client.expect("suback")).granted, [0x87])
  const wrong = await RawClient.connect(target, { ...ann, password: Buffer.from("wrong") })
  t.like(wrong.connack, { reasonCode: 0x86 })
  const stranger = await RawClient.connect(target, { username: "bob", password: Buffer.from("right") })
  t.like(stranger.connack, { reasonCode: 0x86 })
  t.like((await RawClient.connect(target)).connack, { reasonCode: 0x87 })
})

test("onAuthenticate decides for HTTP too", async (t) => {
  const config = on(
    "onAuthenticate",
    (m) => (m.attribute("username") === "ann" ? { user: "ann" } : "reject"),
    reads("username"),
  )
  const target = await start(t, config)
  const put = (user: string) =>
    fetch(`http://127.0.0.1:${target.port}/t/a`, {
      method: "PUT",
      body: "1",
      headers: { authorization: `Basic ${Buffer.from(`${user}:x`).toString("base64")}` },
    })
  t.is((await put("ann")).status, 202)
  t.is((await put("bob")).status, 401)
})

test("onAuthorize forbids by topic for publishes and subscriptions of every protocol, and its verdicts are kept by a key of many parts", async (t) => {
  let asked = 0
  const config = on(
    "onAuthorize",
    (m) => {
      asked += 1
      return m.topic?.startsWith("secret") ? "reject" : undefined
    },
    { cache: () => ({ by: ["clientId", "topic", "hook"], ttlMs: 60_000 }) },
  )
  const target = await start(t, { ...config, workers: 1 })
  const { client } = await RawClient.connect(target)
  for (const [filter, code] of [
    ["open/#", 0],
    ["secret/#", 0x87],
  ] as const) {
    client.send(subscribe(filter))
    t.deepEqual((await client.expect("suback")).granted, [code])
  }
  const ack = async (to: string) => {
    client.send(publish(to, "x", { qos: 1, messageId: 9 }))
    return (await client.expect("puback")).reasonCode
  }
  t.is(await ack("open/a"), 0)
  t.is(await ack("secret/a"), 0x87)
  const before = asked
  t.is(await ack("open/a"), 0)
  t.is(await ack("secret/a"), 0x87)
  t.is(asked, before, "verdicts are kept")
  t.true(calls(target, "cached") >= 2)
  const http = `http://127.0.0.1:${target.port}/t/secret/a`
  t.is((await fetch(http, { method: "PUT", body: "1" })).status, 403)
  t.is((await fetch(http)).status, 403)
  t.is((await fetch(http, { headers: { accept: "text/event-stream" } })).status, 403)
})

test("onAuthorize holds for CoAP, last values and observations", async (t) => {
  const config = on("onAuthorize", (m) => (m.topic?.startsWith("secret") ? "reject" : undefined))
  const target = await start(t, {
    ...config,
    listeners: [{ address: "tcp://127.0.0.1:0" }, { address: "udp://127.0.0.1:0", protocols: ["coap"] }],
  })
  const udp = target.gateway.stats().listeners[1]?.address ?? ""
  const socket = createSocket("udp4")
  t.teardown(() => socket.close())
  const ask = async (head: string, ...path: string[]): Promise<number | undefined> => {
    const options = path.map((part, at) =>
      Buffer.from([(at > 0 ? 0 : head.length > 8 ? 0x50 : 0xb0) | part.length, ...Buffer.from(part)]),
    )
    socket.send(Buffer.concat([Buffer.from(head, "hex"), ...options]), Number(udp.split(":").at(-1)), "127.0.0.1")
    return ((await once(socket, "message")) as [Buffer])[0][1]
  }
  await fetch(`http://127.0.0.1:${target.port}/t/open/a`, { method: "PUT", body: "1" })
  // GET, and GET with Observe 0: option 6 ahead of Uri-Path.
  t.is(await ask("40010001", "t", "open", "a"), 0x45)
  t.is(await ask("40010002", "t", "secret", "a"), 0x83)
  t.is(await ask("410100030a60", "t", "open", "a"), 0x45)
  t.is(await ask("410100040b60", "t", "secret", "a"), 0x83)
})

test("onPublish rewrites topic, payload, retain flag and properties", async (t) => {
  const config = on(
    "onPublish",
    (m) => ({
      topic: `clean/${m.topic}`,
      payload: { was: m.json(), qos: m.attribute("qos") },
      retain: true,
      setHeaders: { by: "policy", "content-type": "application/json" },
      removeHeaders: ["noise"],
    }),
    { ...reads("payload", "qos"), filter: () => topic("raw/#") },
  )
  const target = await start(t, config)
  const { client } = await RawClient.connect(target)
  client.send(subscribe("#", 1))
  await client.expect("suback")
  client.send(
    publish("raw/a", "[1]", { qos: 1, messageId: 2, properties: { userProperties: { noise: "1", kept: "2" } } }),
  )
  const got = await client.expect("publish")
  t.like(got, { topic: "clean/raw/a", qos: 1, properties: { contentType: "application/json" } })
  t.deepEqual({ ...got.properties?.userProperties }, { kept: "2", by: "policy" })
  t.is(String(got.payload), `{"was":[1],"qos":"1"}`)
  client.send(publish("other", "as it was"))
  t.is(String((await client.expect("publish")).payload), "as it was")
  t.is(await (await fetch(`http://127.0.0.1:${target.port}/t/clean/raw/a`)).text(), `{"was":[1],"qos":"1"}`)
})

test("a payload of any size and any bytes crosses both ways", async (t) => {
  const config = on(
    "onPublish",
    (m) => ({ payload: Buffer.concat([m.payload ?? Buffer.of(), Buffer.of(0, 255)]) }),
    reads("payload"),
  )
  const target = await start(t, config)
  const { client } = await RawClient.connect(target)
  client.send(subscribe("a"))
  await client.expect("suback")
  const big = Buffer.alloc(300_000, 7)
  client.send(publish("a", big))
  t.true(Buffer.concat([big, Buffer.of(0, 255)]).equals((await client.expect("publish")).payload as Buffer))
})

test("onPublish refuses by a code, and drops in silence at every QoS", async (t) => {
  const config = on("onPublish", (m) => (m.topic === "drop" ? { drop: true } : { reject: { reason: Number(m.topic) } }))
  const target = await start(t, config)
  const { client } = await RawClient.connect(target)
  client.send(subscribe("#"))
  await client.expect("suback")
  for (const reason of [0x83, 0x87, 0x90, 0x97, 0x99]) {
    client.send(publish(String(reason), "x", { qos: 1, messageId: 3 }))
    t.is((await client.expect("puback")).reasonCode, reason)
  }
  client.send(publish("drop", "x", { qos: 1, messageId: 4 }))
  t.is((await client.expect("puback")).reasonCode, 0)
  client.send(publish("drop", "x", { qos: 2, messageId: 5 }))
  t.is((await client.expect("pubrec")).reasonCode, 0)
  client.send({ cmd: "pubrel", messageId: 5 })
  t.is((await client.expect("pubcomp")).reasonCode, 0)
  t.deepEqual(
    (await client.settle()).filter(({ cmd }) => cmd === "publish"),
    [],
  )
  t.is(counted(target, "tidegate_dropped_total", { reason: "policy" }), 2)
})

test("a client's messages stay in order while verdicts take their time, and others do not wait", async (t) => {
  const config = on("onPublish", async (m) => void (await sleep(m.clientId === "slow" ? 3 + Math.random() * 5 : 0)))
  const target = await start(t, config)
  const slow = await mqtt.connectAsync(url(target), { clientId: "slow", protocolVersion: 5 })
  const quick = await mqtt.connectAsync(url(target), { clientId: "quick", protocolVersion: 5 })
  const reader = await mqtt.connectAsync(url(target), { protocolVersion: 5 })
  const got: string[] = []
  reader.on("message", (_, payload) => got.push(String(payload)))
  await reader.subscribeAsync("order", { qos: 1 })
  const many = Array.from({ length: 60 }, (_, n) => String(n))
  let acknowledged = 0
  const each = many.map((n, at) => slow.publishAsync("order", n, { qos: ((at % 2) + 1) as 1 | 2 }))
  for (const one of each) void one.then(() => acknowledged++)
  await quick.publishAsync("elsewhere", "x", { qos: 1 })
  t.true(acknowledged < many.length)
  await Promise.all(each)
  while (got.length < many.length) await sleep(5)
  t.deepEqual(got, many)
  await Promise.all([slow, quick, reader].map((client) => client.endAsync()))
})

test("onSubscribe rewrites the filter, lowers the promise and refuses", async (t) => {
  const config = on("onSubscribe", (m) => {
    if (m.topic === "never") return { reject: { reason: 0x83 } }
    return { topic: `space/${m.topic}`, qos: 1 }
  })
  const target = await start(t, config)
  const { client } = await RawClient.connect(target)
  client.send({
    cmd: "subscribe",
    messageId: 1,
    subscriptions: [
      { topic: "a", qos: 2 },
      { topic: "never", qos: 0 },
      { topic: "b", qos: 0 },
    ],
  })
  t.deepEqual((await client.expect("suback")).granted, [1, 0x83, 0])
  client.send(publish("space/a", "in", { qos: 2, messageId: 2 }))
  t.like(await client.expect("publish"), { topic: "space/a", qos: 1 })
})

test("onDeliver changes and withholds for one subscriber, in order, and acknowledged slots come free", async (t) => {
  const config = on(
    "onDeliver",
    async (m) => {
      await sleep(Math.random() * 4)
      const n = Number(m.text())
      if (m.clientId === "picky")
        return n % 2 === 1 ? { drop: true } : { payload: `<${n}>`, setHeaders: { seen: "yes" } }
      return undefined
    },
    reads("payload"),
  )
  const target = await start(t, { ...config, mqtt: { maxInflight: 3 } })
  const read = async (clientId: string) => {
    const client = await mqtt.connectAsync(url(target), { clientId, protocolVersion: 5 })
    const got: string[] = []
    client.on("message", (_, payload) => got.push(String(payload)))
    await client.subscribeAsync("n", { qos: 1 })
    return { client, got }
  }
  const [picky, plain] = [await read("picky"), await read("plain")]
  for (let n = 0; n < 40; n++) await plain.client.publishAsync("n", String(n), { qos: ((n % 2) + 1) as 1 | 2 })
  while (plain.got.length < 40 || picky.got.length < 20) await sleep(5)
  t.deepEqual(
    plain.got,
    Array.from({ length: 40 }, (_, n) => String(n)),
  )
  t.deepEqual(
    picky.got,
    Array.from({ length: 20 }, (_, n) => `<${n * 2}>`),
  )
  // The last acknowledgement is on its way when the last message has come.
  let rows = await sessions(target)
  for (let tries = 0; tries < 200 && rows.some(({ inflight, queued }) => inflight + queued > 0); tries++) {
    await sleep(20)
    rows = await sessions(target)
  }
  await Promise.all([picky, plain].map(({ client }) => client.endAsync()))
  t.true(
    rows.every(({ inflight, queued }) => inflight === 0 && queued === 0),
    JSON.stringify(rows),
  )
})

test("a delivery under a topic that is none is withheld, and its slot comes free", async (t) => {
  const config = on("onDeliver", (m) => (m.text() === "bad" ? { topic: "a/#" } : undefined), reads("payload"))
  const target = await start(t, { ...config, mqtt: { maxInflight: 1 } })
  const { client } = await RawClient.connect(target)
  client.send(subscribe("n", 1))
  await client.expect("suback")
  for (const text of ["bad", "bad", "good"]) client.send(publish("n", text, { qos: 1, messageId: 2 }))
  t.is(String((await client.expect("publish")).payload), "good")
  t.is(counted(target, "tidegate_dropped_total", { reason: "policy" }), 2)
})

test("onDisconnect hears how each client left", async (t) => {
  const heard = new Map<string | null, string | null>()
  const config = on(
    "onDisconnect",
    (m) => void (heard.has(m.clientId) || heard.set(m.clientId, m.attribute("reason"))),
    reads("reason"),
  )
  const target = await start(t, config)
  const join = async (clientId: string) => (await RawClient.connect(target, { clientId, keepalive: 1 })).client
  const polite = await join("polite")
  polite.send({ cmd: "disconnect", reasonCode: 0 })
  ;(await join("lost")).drop()
  ;(await join("wrong")).sendBytes("ff ff ff ff ff")
  await join("kicked")
  await target.gateway.native.kickClient("kicked")
  await join("twice")
  const second = await join("twice")
  await join("silent")
  while (heard.size < 6) await sleep(10)
  t.deepEqual(Object.fromEntries(heard), {
    polite: "client",
    lost: "lost",
    wrong: "protocol-error",
    kicked: "kicked",
    twice: "taken-over",
    silent: "keep-alive",
  })
  second.drop()
})

test("a late, throwing or senseless policy means its fallback, and is counted", async (t) => {
  const decide: Decide = (m) => {
    if (m.topic === "late") return new Promise(() => {})
    if (m.topic === "throws") throw new Error("no")
    return m.topic === "rubbish" ? ({ topic: 5 } as never) : undefined
  }
  for (const [fallback, code] of [
    ["reject", 0x97],
    ["continue", 0x10],
  ] as const) {
    const target = await start(t, on("onPublish", decide, { fallback, deadlineMs: 1_000 }))
    const { client } = await RawClient.connect(target)
    for (const to of ["late", "throws", "rubbish"]) {
      client.send(publish(to, "x", { qos: 1, messageId: 3 }))
      t.is((await client.expect("puback")).reasonCode, code, `${to} ${fallback}`)
    }
    t.deepEqual([calls(target, "timeout"), calls(target, "error")], [1, 2])
  }
})

test("policies of topic routes rewrite as hooks do, and run in their order", async (t) => {
  const order: string[] = []
  const step = (name: string, at: number, verdict: object) =>
    definePolicy({
      name,
      order: at,
      deadlineMs: 5_000,
      reads: () => ["payload"],
      decide: (m) => {
        order.push(`${name} ${m.topic}`)
        return verdict
      },
    })()
  const target = await start(t, {
    routes: [
      {
        when: topic("in/#"),
        to: { topic: "copy/{topic}" },
        use: [step("second", 2, { payload: "two" }), step("first", 1, { topic: "in/new" })],
      },
    ],
  })
  const { client } = await RawClient.connect(target)
  client.send(subscribe("#"))
  await client.expect("suback")
  client.send(publish("in/old", "one"))
  const got = [await client.expect("publish"), await client.expect("publish")]
  t.deepEqual(
    got.map((packet) => [packet.topic, String(packet.payload)]),
    [
      ["in/new", "two"],
      ["copy/in/new", "two"],
    ],
  )
  t.deepEqual(order, ["first in/old", "second in/new"])
})

test("a tenant that a hook sets is read by later hooks", async (t) => {
  const who = definePolicy({ name: "who", deadlineMs: 5_000, decide: ({ clientId }) => ({ tenant: `of-${clientId}` }) })
  const where = definePolicy({
    name: "where",
    deadlineMs: 5_000,
    reads: () => ["tenant"],
    decide: (m) => ({ topic: `${m.attribute("tenant")}/${m.topic}` }),
  })
  const target = await start(t, {
    broker: { hooks: { onConnect: [who()], onPublish: [where()], onSubscribe: [where()] } },
  })
  const { client } = await RawClient.connect(target, { clientId: "a" })
  client.send(subscribe("x"))
  await client.expect("suback")
  client.send(publish("x", "1"))
  t.is((await client.expect("publish")).topic, "of-a/x")
})
