/** Who may come in and what they may do: tokens, a service, users that are taken away, superusers, rules with %c and %u. */
import { createHmac, createSign, generateKeyPairSync, type KeyObject } from "node:crypto"
import { once } from "node:events"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import test, { type ExecutionContext } from "ava"
import { loadNative } from "../../src/native/index.ts"
import { RawClient, start, type Target } from "./raw.ts"

const part = (data: object): string => Buffer.from(JSON.stringify(data)).toString("base64url")
const FAR = 4_000_000_000

function hs256(claims: object, secret: string): string {
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part(claims)}`
  return `${text}.${createHmac("sha256", secret).update(text).digest("base64url")}`
}

function signed(alg: "RS256" | "ES256", key: KeyObject, claims: object, kid?: string): string {
  const text = `${part({ alg, typ: "JWT", ...(kid && { kid }) })}.${part(claims)}`
  const signature = createSign("SHA256").update(text).sign({ key, dsaEncoding: "ieee-p1363" })
  return `${text}.${signature.toString("base64url")}`
}

async function login(target: Target, username: string, password: string, rest: object = {}) {
  const { client, connack } = await RawClient.connect(target, { username, password: Buffer.from(password), ...rest })
  return { client, code: (connack as { reasonCode?: number } | null)?.reasonCode }
}

/** The code of a QoS 1 publish. */
async function publishCode(client: RawClient, topic: string): Promise<number> {
  client.send({ cmd: "publish", topic, payload: "x", qos: 1, messageId: 5, dup: false, retain: false })
  return (await client.expect("puback")).reasonCode ?? 0
}

const subscribeCode = async (client: RawClient, topic: string): Promise<unknown> => {
  client.send({ cmd: "subscribe", messageId: 6, subscriptions: [{ topic, qos: 0 }] })
  return (await client.expect("suback")).granted[0]
}

/** `outcome: times` of tidegate_auth_total for MQTT. */
function outcomes({ gateway }: Target): Record<string, number> {
  const bytes = gateway.native.scrape(0)
  const length = bytes.readUInt32LE(0)
  const series = JSON.parse(bytes.subarray(4, 4 + length).toString()) as {
    metric: string
    labels: { outcome: string }
    kind: string
    buckets?: number[]
  }[]
  let at = Math.ceil((4 + length) / 8) * 8
  const found: Record<string, number> = {}
  for (const { metric, labels, buckets } of series) {
    if (metric === "tidegate_auth_total") found[labels.outcome] = bytes.readDoubleLE(at)
    at += 8 * (buckets ? buckets.length + 3 : 1)
  }
  return found
}

test("a token names its user and brings its rules; a wrong, old or foreign one is refused and counted", async (t) => {
  const target = await start(t, { auth: { jwt: { secret: "between us", issuer: "us" } } })
  const claims = { sub: "ann", iss: "us", exp: FAR, acl: [{ allow: "publish", topic: "from/%u/%c/#" }] }
  const { client, code } = await login(target, "whoever", hs256(claims, "between us"), { clientId: "pump" })
  t.is(code, 0)
  t.true((await publishCode(client, "from/ann/pump/a")) < 0x80)
  t.is(await publishCode(client, "from/bob/pump/a"), 0x87)
  t.is(await subscribeCode(client, "from/ann/#"), 0x87)
  t.is((await login(target, "ann", hs256(claims, "guessed"))).code, 0x86)
  t.is((await login(target, "ann", hs256({ ...claims, exp: 1 }, "between us"))).code, 0x86)
  t.is((await login(target, "ann", hs256({ ...claims, iss: "them" }, "between us"))).code, 0x86)
  t.is((await login(target, "ann", "no token")).code, 0x86)
  t.is((await RawClient.connect(target)).connack?.cmd, "connack")
  t.like(outcomes(target), {
    token: 1,
    "bad-token": 1,
    "expired-token": 1,
    "foreign-token": 1,
    "bad-credentials": 1,
    "no-credentials": 1,
    "publish-forbidden": 1,
    "subscribe-forbidden": 1,
  })
})

test("RSA and EC keys of a key set verify what they signed, and no public key passes for a secret", async (t) => {
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2_048 })
  const ec = generateKeyPairSync("ec", { namedCurve: "P-256" })
  const keys = [
    { ...rsa.publicKey.export({ format: "jwk" }), kid: "r", alg: "RS256" },
    { ...ec.publicKey.export({ format: "jwk" }), kid: "e", alg: "ES256" },
  ]
  const target = await start(t, { auth: { jwt: { jwks: JSON.stringify({ keys }) } } })
  const claims = { sub: "ann", exp: FAR }
  t.is((await login(target, "", signed("RS256", rsa.privateKey, claims, "r"))).code, 0)
  t.is((await login(target, "", signed("ES256", ec.privateKey, claims, "e"))).code, 0)
  t.is((await login(target, "", signed("ES256", ec.privateKey, claims, "r"))).code, 0x86)
  const pem = rsa.publicKey.export({ format: "pem", type: "spki" }).toString()
  const single = await start(t, { auth: { jwt: { publicKey: pem } } })
  t.is((await login(single, "", signed("RS256", rsa.privateKey, claims))).code, 0)
  t.is((await login(single, "", hs256(claims, pem))).code, 0x86)
  t.is((await login(single, "", `${part({ alg: "none" })}.${part(claims)}.`)).code, 0x86)
})

/** A service that lets ann in with rules, root as a superuser, and counts what it was asked. */
async function service(t: ExecutionContext) {
  const asked: { username: string; clientId: string }[] = []
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const data of request) parts.push(data as Buffer)
    const question = JSON.parse(Buffer.concat(parts).toString()) as {
      username: string
      clientId: string
      password: string
    }
    asked.push(question)
    if (question.username === "slow") return
    if (question.password !== "right") return response.writeHead(401).end()
    const answer = question.username === "root" ? { superuser: true } : { acl: [{ allow: "all", topic: "%u/#" }] }
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(answer))
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { asked, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

test("a service decides who comes in with what rules; it is asked once, and its silence lets nobody in", async (t) => {
  const { asked, address } = await service(t)
  const target = await start(t, {
    workers: 1,
    upstreams: { users: { endpoints: [address] } },
    auth: { http: { upstream: "users", path: "/mqtt", timeoutMs: 200 }, acl: [{ allow: "all", topic: "open/#" }] },
  })
  for (let round = 0; round < 2; round++) {
    const { client, code } = await login(target, "ann", "right", { clientId: "a" })
    t.is(code, 0)
    t.true((await publishCode(client, "ann/x")) < 0x80)
    t.true((await publishCode(client, "open/x")) < 0x80)
    t.is(await publishCode(client, "bob/x"), 0x87)
  }
  t.is(asked.length, 1)
  const { client: root } = await login(target, "root", "right")
  t.true((await publishCode(root, "anything")) < 0x80)
  t.is((await login(target, "ann", "wrong")).code, 0x86)
  t.is((await login(target, "slow", "right")).code, 0x86)
  t.like(outcomes(target), { service: 2, "service-cached": 1, "service-denied": 1, "service-failed": 1 })
})

test("a user that is taken away is disconnected at once, others stay", async (t) => {
  const hash = await loadNative().hashPassword("tide")
  const users = { ann: hash, bob: hash }
  const config = { auth: { users, superusers: ["bob"], acl: [{ allow: "subscribe" as const, topic: "%c" }] } }
  const target = await start(t, config)
  const { client: ann } = await login(target, "ann", "tide", { clientId: "device" })
  const { client: bob } = await login(target, "bob", "tide")
  t.is(await subscribeCode(ann, "device"), 0)
  t.is(await subscribeCode(ann, "other"), 0x87)
  t.is(await subscribeCode(bob, "#"), 0)
  await target.gateway.reload({
    workers: 2,
    admin: false,
    dataDir: false,
    listeners: [{ address: "tcp://127.0.0.1:0", protocols: "detect" }],
    auth: { ...config.auth, users: { bob: hash } },
  })
  t.deepEqual(await ann.closed(1_000), { closed: true, code: 0x98 })
  t.deepEqual(await bob.settle(), [])
})
