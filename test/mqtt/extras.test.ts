/** What MQTT 5 leaves to the server: aliases it sets, SCRAM, redirects, delayed publishes, `$SYS`, strategies. */
import { createHmac } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import test from "ava"
import mqtt from "mqtt"
import { createGateway } from "../../src/index.ts"
import { portOf, RawClient, start } from "./raw.ts"
import { ScramClient } from "./scram.ts"

/** RFC 7677 section 3: the user "user" with the password "pencil". */
const SCRAM =
  "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
const METHOD = "SCRAM-SHA-256"

const subscribe = (topic: string, qos = 0) => ({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic, qos }] })
const publish = (topic: string, payload: string | Buffer, rest: object = {}) => {
  return { cmd: "publish", topic, payload, qos: 0, dup: false, retain: false, ...rest }
}

test("a client that takes topic aliases gets each topic once, then its number", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target, { properties: { topicAliasMaximum: 2 } })
  client.send(subscribe("long/topic/#"))
  await client.expect("suback")
  const { client: writer } = await RawClient.connect(target)
  const topics = ["long/topic/1", "long/topic/2", "long/topic/3", "long/topic/1", "long/topic/3", "long/topic/2"]
  for (const topic of topics) writer.send(publish(topic, topic))
  const seen = []
  for (const _ of topics) {
    const { topic, payload, properties } = await client.expect("publish")
    seen.push([topic, properties?.topicAlias, String(payload)])
  }
  t.deepEqual(seen, [
    ["long/topic/1", 1, "long/topic/1"],
    ["long/topic/2", 2, "long/topic/2"],
    ["long/topic/3", undefined, "long/topic/3"],
    ["", 1, "long/topic/1"],
    ["long/topic/3", undefined, "long/topic/3"],
    ["", 2, "long/topic/2"],
  ])
})

test("mqtt.js resolves the aliases the server sets", async (t) => {
  const { port } = await start(t)
  const reader = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 5,
    properties: { topicAliasMaximum: 10 },
  })
  const topics: string[] = []
  reader.on("message", (topic) => topics.push(topic))
  await reader.subscribeAsync("sensor/#", { qos: 1 })
  for (const n of [1, 2, 1, 2]) await reader.publishAsync(`sensor/${n}`, "x", { qos: 1 })
  while (topics.length < 4) await new Promise((resolve) => setTimeout(resolve, 5))
  t.deepEqual(topics, ["sensor/1", "sensor/2", "sensor/1", "sensor/2"])
  await reader.endAsync()
})

test("SCRAM-SHA-256 logs in, proves the server, and can be done again", async (t) => {
  const target = await start(t, { auth: { users: { user: { scram: SCRAM } }, acl: [{ allow: "all", topic: "%u/#" }] } })
  const scram = new ScramClient("user", "pencil")
  const properties = { authenticationMethod: METHOD, authenticationData: scram.first() }
  const { client, connack } = await RawClient.connect(target, { properties })
  t.is(connack?.cmd, "auth")
  const asked = connack as { reasonCode?: number; properties?: { authenticationData?: Buffer } } | null
  t.is(asked?.reasonCode, 0x18)
  const data = scram.final(asked?.properties?.authenticationData)
  client.send({ cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod: METHOD, authenticationData: data } })
  const accepted = await client.expect("connack")
  t.is(accepted.reasonCode, 0)
  t.is(accepted.properties?.authenticationMethod, METHOD)
  t.true(scram.proves(accepted.properties?.authenticationData))
  client.send(subscribe("user/#"))
  t.deepEqual((await client.expect("suback")).granted, [0])

  const again = new ScramClient("user", "pencil")
  const first = { authenticationMethod: METHOD, authenticationData: again.first() }
  client.send({ cmd: "auth", reasonCode: 0x19, properties: first })
  const next = await client.expect("auth")
  const last = { authenticationMethod: METHOD, authenticationData: again.final(next.properties?.authenticationData) }
  client.send({ cmd: "auth", reasonCode: 0x18, properties: last })
  t.is((await client.expect("auth")).reasonCode, 0)
})

for (const [name, password] of [
  ["user", "crayon"],
  ["nobody", "pencil"],
] as const) {
  test(`SCRAM-SHA-256 refuses ${name} with ${password}`, async (t) => {
    const target = await start(t, { auth: { users: { user: { scram: SCRAM } } } })
    const scram = new ScramClient(name, password)
    const properties = { authenticationMethod: METHOD, authenticationData: scram.first() }
    const { client, connack } = await RawClient.connect(target, { properties })
    const asked = connack as { properties?: { authenticationData?: Buffer } } | null
    const data = scram.final(asked?.properties?.authenticationData)
    client.send({
      cmd: "auth",
      reasonCode: 0x18,
      properties: { authenticationMethod: METHOD, authenticationData: data },
    })
    t.deepEqual(await client.closed(), { closed: true, code: 0x87 })
  })
}

test("another method is refused with 0x8C, an AUTH without a method with 0x82", async (t) => {
  const target = await start(t)
  const { connack } = await RawClient.connect(target, { properties: { authenticationMethod: "GS2-KRB5" } })
  t.is((connack as { reasonCode?: number }).reasonCode, 0x8c)
  const { client } = await RawClient.connect(target)
  client.send({ cmd: "auth", reasonCode: 0x19, properties: { authenticationMethod: METHOD } })
  t.deepEqual(await client.closed(), { closed: true, code: 0x82 })
})

test("a draining gateway names the server to use instead; one that has moved says so at CONNECT", async (t) => {
  const draining = await start(t, { mqtt: { redirect: { to: "other:1883" } }, drain: { timeoutMs: 200 } })
  const { client } = await RawClient.connect(draining)
  void draining.gateway.drain()
  const goodbye = await client.expect("disconnect")
  t.deepEqual([goodbye.reasonCode, goodbye.properties?.serverReference], [0x9c, "other:1883"])

  const moved = await start(t, { mqtt: { redirect: { to: "new:1883", when: "always", permanent: true } } })
  const { connack } = await RawClient.connect(moved)
  const { reasonCode, properties } = connack as { reasonCode?: number; properties?: { serverReference?: string } }
  t.deepEqual([reasonCode, properties?.serverReference], [0x9d, "new:1883"])
  const { connack: older } = await RawClient.connect(moved, { protocolVersion: 4 })
  t.is((older as { returnCode?: number }).returnCode, 3)
})

test("a publish to $delayed waits, is retained when it is due, and outlives the gateway", async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-delayed-"))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  const config = { workers: 2, admin: false as const, dataDir, listeners: [{ address: "tcp://127.0.0.1:0" }] }
  const first = await createGateway(config)
  await first.start()
  const { client } = await RawClient.connect({ port: portOf(first) })
  client.send(publish("$delayed/1/later/a", "soon", { qos: 1, messageId: 7, retain: true }))
  t.is((await client.expect("puback")).reasonCode ?? 0, 0)
  for (const topic of ["$delayed/x/a", "$delayed/1", "$delayed/1/$SYS/a"]) {
    client.send(publish(topic, "x", { qos: 1, messageId: 8 }))
    t.true(((await client.expect("puback")).reasonCode ?? 0) >= 0x80, topic)
  }
  client.send(subscribe("later/#"))
  await client.expect("suback")
  t.deepEqual(await client.settle(), [])
  await first.close()
  const second = await createGateway(config)
  t.teardown(() => second.close())
  await second.start()
  const { client: reader } = await RawClient.connect({ port: portOf(second) })
  reader.send(subscribe("later/#"))
  const { topic, payload } = await reader.expect("publish", 4_000)
  t.deepEqual([topic, String(payload)], ["later/a", "soon"])
})

test("a publish to $delayed is judged by the rules of who published it, behind a restart too", async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-delayed-"))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const token = (claims: object) => {
    const signed = `${part({ alg: "HS256" })}.${part({ exp: Math.floor(Date.now() / 1_000) + 600, ...claims })}`
    return `${signed}.${createHmac("sha256", "a secret of the tests").update(signed).digest("base64url")}`
  }
  const config = {
    workers: 1,
    admin: false as const,
    dataDir,
    listeners: [{ address: "tcp://127.0.0.1:0", anonymous: true }],
    auth: { jwt: { secret: "a secret of the tests" }, acl: [{ allow: "subscribe" as const, topic: "#" }] },
  }
  const first = await createGateway(config)
  await first.start()
  for (const claims of [
    { sub: "ann", acl: [{ allow: "publish", topic: "later/ann" }] },
    { sub: "bo", superuser: true },
  ]) {
    const password = Buffer.from(token(claims))
    const { client } = await RawClient.connect({ port: portOf(first) }, { username: claims.sub, password })
    client.send(publish(`$delayed/2/later/${claims.sub}`, "soon", { qos: 1, messageId: 7, retain: true }))
    t.is((await client.expect("puback")).reasonCode ?? 0, 0)
  }
  await first.close()
  const second = await createGateway(config)
  t.teardown(() => second.close())
  await second.start()
  const { client: reader } = await RawClient.connect({ port: portOf(second) })
  reader.send(subscribe("later/#"))
  const topics = [await reader.expect("publish", 5_000), await reader.expect("publish", 5_000)].map(
    ({ topic }) => topic,
  )
  t.deepEqual(topics.toSorted(), ["later/ann", "later/bo"])
})

test("$SYS tells of the gateway, only to who asks, and nobody may write it", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  client.send(subscribe("$SYS/broker/version"))
  t.regex(String((await client.expect("publish")).payload), /^tidegate \d/)
  client.send(publish("$SYS/broker/version", "mine", { qos: 1, messageId: 2 }))
  t.is((await client.expect("puback")).reasonCode, 0x87)
  const { client: all } = await RawClient.connect(target)
  all.send(subscribe("#"))
  await all.expect("suback")
  t.deepEqual(await all.settle(), [])
})

test("a sticky shared subscription keeps to one member until it goes; a fair one takes turns", async (t) => {
  for (const sharedSubscriptions of ["sticky", "fair"]) {
    const target = await start(t, { broker: { sharedSubscriptions } })
    const members = await Promise.all(
      [1, 2, 3].map(async () => {
        const { client } = await RawClient.connect(target)
        client.send(subscribe("$share/group/job"))
        await client.expect("suback")
        return client
      }),
    )
    const { client: writer } = await RawClient.connect(target)
    for (let n = 0; n < 12; n++) writer.send(publish("job", String(n)))
    await writer.settle()
    const counts = await Promise.all(members.map(async (member) => (await member.settle()).length))
    t.deepEqual(counts.toSorted(), sharedSubscriptions === "fair" ? [4, 4, 4] : [0, 0, 12], sharedSubscriptions)
    if (sharedSubscriptions === "fair") continue
    members[counts.indexOf(12)]?.drop()
    await new Promise((resolve) => setTimeout(resolve, 100))
    for (let n = 0; n < 6; n++) writer.send(publish("job", String(n)))
    await writer.settle()
    const left = members.filter((_, index) => counts[index] === 0)
    t.deepEqual((await Promise.all(left.map(async (member) => (await member.settle()).length))).toSorted(), [0, 6])
  }
})

test("packets far larger than a read buffer pass, in any cut, and the next ones too", async (t) => {
  const target = await start(t)
  const { client } = await RawClient.connect(target)
  client.send(subscribe("big", 1))
  await client.expect("suback")
  for (const bytes of [60_000, 65_535, 65_536, 200_000, 1_000_000]) {
    client.send(publish("big", Buffer.alloc(bytes, 7), { qos: 1, messageId: 9 }))
    client.send(publish("big", "next", { qos: 1, messageId: 10 }))
    const payloads = []
    while (payloads.length < 2) payloads.push((await client.expect("publish")).payload.length)
    t.deepEqual(payloads, [bytes, 4])
  }
})
