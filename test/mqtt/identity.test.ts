/** Identities that come with a handshake, end with time, live in a database, and outlive the process. */

import { createHmac } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { connect as connectTls } from "node:tls"
import anyTest, { type TestFn } from "ava"
import Database from "libsql"
import mqtt, { type IClientOptions } from "mqtt"
import { type ConfigInput, createGateway } from "../../src/index.ts"
import { loadNative } from "../../src/native/index.ts"
import { certificates } from "./certificates.ts"
import { hasMosquitto, mosquitto } from "./mosquitto.ts"
import { counted, portOf, RawClient, start, type Target } from "./raw.ts"

const test = anyTest
const testMosquitto = (hasMosquitto || process.env.CI ? anyTest : anyTest.skip) as TestFn

const part = (data: object): string => Buffer.from(JSON.stringify(data)).toString("base64url")
const SECRET = "between us"
const now = (): number => Math.floor(Date.now() / 1_000)

function token(claims: object): string {
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`
}

async function publishCode(client: RawClient, topic: string): Promise<number> {
  client.send({ cmd: "publish", topic, payload: "x", qos: 1, messageId: 5, dup: false, retain: false })
  return (await client.expect("puback")).reasonCode ?? 0
}

test("a client certificate is the user, over TLS, by ALPN mqtt, and over a secure WebSocket", async (t) => {
  const authority = await certificates(t)
  const [server, device] = [await authority.issue("localhost", "127.0.0.1"), await authority.issue("device-1")]
  const target = await start(t, {
    listeners: [
      {
        address: "tcp://127.0.0.1:0",
        anonymous: false,
        tls: { ...server, clientAuth: { ca: authority.ca, mode: "request", user: "commonName" } },
      },
    ],
    auth: { acl: [{ allow: "all", topic: "%u/#" }] },
  })
  const trust = { ca: readFileSync(authority.ca), servername: "localhost" }
  const own = { cert: readFileSync(device.cert), key: readFileSync(device.key) }
  const urls = { mqtts: `mqtts://127.0.0.1:${target.port}`, wss: `wss://127.0.0.1:${target.port}/mqtt` }
  const shapes: [string, IClientOptions][] = [
    [urls.mqtts, {}],
    [urls.mqtts, { ALPNProtocols: ["mqtt"] }],
    [urls.mqtts, { username: "somebody-else" }],
    [urls.wss, { wsOptions: { ...trust, ...own } }],
  ]
  for (const [url, rest] of shapes) {
    const client = await mqtt.connectAsync(url, { protocolVersion: 5, ...trust, ...own, ...rest })
    const got = new Promise<string>((resolve) => client.once("message", (_, payload) => resolve(String(payload))))
    const [granted] = await client.subscribeAsync("device-1/#", { qos: 1 })
    t.is(granted?.qos, 1, url)
    await client.publishAsync("device-1/state", "on", { qos: 1 })
    t.is(await got, "on")
    const refused = await client.publishAsync("device-2/state", "on", { qos: 1 }).catch((error) => error.code as number)
    t.is(refused, 0x87)
    await client.endAsync()
  }
  t.is(counted(target, "tidegate_auth_total", { outcome: "certificate" }), 4)
  const nobody = await mqtt.connectAsync(urls.mqtts, { protocolVersion: 5, ...trust, reconnectPeriod: 0 }).catch(String)
  t.regex(String(nobody), /Not authorized/)
})

test("ALPN chooses mqtt where it is offered", async (t) => {
  const authority = await certificates(t)
  const server = await authority.issue("localhost")
  const { port } = await start(t, { listeners: [{ address: "tcp://127.0.0.1:0", tls: server }] })
  const socket = connectTls({
    port,
    host: "127.0.0.1",
    servername: "localhost",
    ca: readFileSync(authority.ca),
    ALPNProtocols: ["mqtt"],
  })
  await new Promise((resolve) => socket.once("secureConnect", resolve))
  t.is(socket.alpnProtocol, "mqtt")
  socket.destroy()
})

test("a connection ends with its token, and a new one by AUTH keeps it", async (t) => {
  const target = await start(t, { auth: { jwt: { secret: SECRET } } })
  const short = token({ sub: "ann", exp: now() + 2 })
  const login = { username: "ann", password: Buffer.from(short) }
  const { client: ends, connack } = await RawClient.connect(target, login)
  t.like(connack, { reasonCode: 0 })
  const properties = { authenticationMethod: "JWT", authenticationData: Buffer.from(short) }
  const { client: stays, connack: second } = await RawClient.connect(target, { properties })
  t.like(second, { reasonCode: 0, properties: { authenticationMethod: "JWT" } })
  const next = token({ sub: "ann", exp: now() + 60, acl: [{ allow: "all", topic: "new/#" }] })
  stays.send({ cmd: "auth", reasonCode: 0x19, properties: { ...properties, authenticationData: Buffer.from(next) } })
  t.like(await stays.expect("auth"), { reasonCode: 0, properties: { authenticationMethod: "JWT" } })
  t.is(await publishCode(stays, "new/a"), 0x10)
  t.is(await publishCode(stays, "old/a"), 0x87, "the rules of the new token hold")
  t.deepEqual(await ends.closed(5_000), { closed: true, code: 0xa0 })
  t.is(await publishCode(stays, "new/a"), 0x10)
  const other = token({ sub: "bob", exp: now() + 60 })
  stays.send({ cmd: "auth", reasonCode: 0x19, properties: { ...properties, authenticationData: Buffer.from(other) } })
  t.deepEqual(await stays.closed(), { closed: true, code: 0x87 })
})

test("a wrong token as enhanced authentication is refused", async (t) => {
  const target = await start(t, { auth: { jwt: { secret: SECRET } } })
  const properties = { authenticationMethod: "JWT", authenticationData: Buffer.from("a.b.c") }
  t.like((await RawClient.connect(target, { properties })).connack, { reasonCode: 0x87 })
})

test("a kept session has the rules of its token after a restart too", async (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "tidegate-identity-"))
  t.teardown(() => rmSync(dataDir, { recursive: true, force: true }))
  const config: ConfigInput = {
    workers: 2,
    admin: false,
    dataDir,
    listeners: [{ address: "tcp://127.0.0.1:0", anonymous: true }],
    auth: {
      jwt: { secret: SECRET },
      acl: [
        { deny: "all", topic: "mine/#" },
        { allow: "all", topic: "#" },
      ],
    },
  }
  const open = async (): Promise<Target> => {
    const gateway = await createGateway(config)
    await gateway.start()
    return { gateway, port: portOf(gateway) }
  }
  const first = await open()
  const session = {
    clientId: "kept",
    clean: false,
    properties: { sessionExpiryInterval: 600 },
    username: "ann",
    password: Buffer.from(token({ sub: "ann", acl: [{ allow: "all", topic: "mine/#" }] })),
  }
  const { client } = await RawClient.connect(first, session)
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "#", qos: 1 }] })
  await client.expect("suback")
  client.send({ cmd: "disconnect", reasonCode: 0 })
  await first.gateway.close()
  const second = await open()
  t.teardown(() => second.gateway.close())
  await second.gateway.publish("mine/a", "for the token's rules", { qos: 1 })
  const { client: back, connack } = await RawClient.connect(second, session)
  t.like(connack, { sessionPresent: true })
  t.is(String((await back.expect("publish")).payload), "for the token's rules")
})

test("users of a database come in, change and lose their connection when they are taken out", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-users-"))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, "users.db")
  const database = new Database(file)
  t.teardown(() => database.close())
  database.exec("create table users (name text primary key, password text, scram text, superuser integer, acl text)")
  const insert = database.prepare("insert into users values (?, ?, ?, ?, ?)")
  const hash = await loadNative().hashPassword("right")
  insert.run("ann", hash, null, 0, JSON.stringify([{ allow: "all", topic: "ann/#" }]))
  insert.run("root", hash, null, 1, null)
  const target = await start(t, { auth: { database: { file }, acl: [{ deny: "all", topic: "#" }] } })
  const login = async (username: string, password = "right") => {
    const { client, connack } = await RawClient.connect(target, { username, password: Buffer.from(password) })
    return { client, code: (connack as { reasonCode?: number }).reasonCode }
  }
  const ann = await login("ann")
  t.is(ann.code, 0)
  t.deepEqual([await publishCode(ann.client, "ann/a"), await publishCode(ann.client, "bob/a")], [0x10, 0x87])
  t.is((await login("ann", "wrong")).code, 0x86)
  t.is(await publishCode((await login("root")).client, "any/where"), 0x10)
  t.is((await login("bob")).code, 0x86)
  insert.run("bob", hash, null, 0, null)
  database.prepare("delete from users where name = ?").run("ann")
  t.deepEqual(await ann.client.closed(5_000), { closed: true, code: 0x98 })
  for (const end = Date.now() + 5_000; (await login("bob")).code !== 0; await sleep(50)) t.true(Date.now() < end)
  t.is((await login("ann")).code, 0x86)
})

test("Response Information is told to who asks for it", async (t) => {
  const target = await start(t, { mqtt: { responseInformation: "replies/%c/" } })
  const asked = { clientId: "me", properties: { requestResponseInformation: true } }
  t.like((await RawClient.connect(target, asked)).connack, { properties: { responseInformation: "replies/me/" } })
  const { connack } = await RawClient.connect(target, { clientId: "other" })
  t.is((connack as { properties?: { responseInformation?: string } }).properties?.responseInformation, undefined)
})

testMosquitto("clients are proxied, and topics bridged, to a broker over TLS that proves its name", async (t) => {
  const authority = await certificates(t)
  const pair = await authority.issue("localhost", "127.0.0.1")
  const lines = [`cafile ${authority.ca}`, `certfile ${pair.cert}`, `keyfile ${pair.key}`]
  const behind = await mosquitto(t, lines)
  const lines_: string[] = []
  const target = await start(t, {
    upstreams: {
      brokers: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind.port}`], tls: { ca: authority.ca } },
      wrong: { protocol: "mqtt", endpoints: [`127.0.0.1:${behind.port}`], tls: true },
    },
    routes: [
      { when: { protocol: "mqtt", clientId: { regex: "fleet-.*" } }, to: "brokers" },
      { when: { protocol: "mqtt", clientId: { regex: "wrong-.*" } }, to: "wrong" },
    ],
    bridges: {
      site: { to: `mqtts://127.0.0.1:${behind.port}`, tls: { ca: authority.ca }, out: [{ topic: "out/#" }] },
      untrusted: { to: `mqtts://127.0.0.1:${behind.port}`, out: [{ topic: "never/#" }] },
    },
  })
  target.gateway.on("log", ({ text }) => lines_.push(text))
  const trust = { ca: readFileSync(authority.ca) }
  const direct = await mqtt.connectAsync(`mqtts://127.0.0.1:${behind.port}`, trust)
  const seen: string[] = []
  direct.on("message", (topic, payload) => seen.push(`${topic} ${payload.length}`))
  await direct.subscribeAsync("#", { qos: 1 })
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`, { clientId: "fleet-1", protocolVersion: 5 })
  await client.publishAsync("up", Buffer.alloc(200_000), { qos: 2 })
  const { connack } = await RawClient.connect(target, { clientId: "wrong-1" })
  t.like(connack, { reasonCode: 0x88 }, "a broker that does not prove its name is not spoken to")
  const own = await mqtt.connectAsync(`mqtt://127.0.0.1:${target.port}`, { clientId: "own" })
  for (const end = Date.now() + 10_000; !seen.includes("out/a 1"); await sleep(50)) {
    t.true(Date.now() < end, seen.join())
    await own.publishAsync("out/a", "1", { qos: 1 })
    await own.publishAsync("never/a", "1", { qos: 1 })
  }
  t.true(seen.includes("up 200000"))
  t.false(seen.some((line) => line.startsWith("never")))
  await Promise.all([direct, client, own].map((one) => one.endAsync()))
})
