/** What a client's certificate is good for: routes, policies, headers, the user it stands for, and its revocation. openssl makes the certificates. */
import { createHash, X509Certificate } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import type { IncomingHttpHeaders } from "node:http"
import { connect as connectH2 } from "node:http2"
import { request } from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import mqtt from "mqtt"
import { type Authority, createAuthority } from "./authority.ts"
import { has, type Running, runGateway, upstream } from "./run-gateway.ts"

const test = ava.serial
const folder = mkdtempSync(join(tmpdir(), "tidegate-mtls-"))
const file = (name: string): string => join(folder, name)
const SPIFFE = "URI:spiffe://plant/device-7"
let gateway: Running
let api: Awaited<ReturnType<typeof upstream>>
let heard: IncomingHttpHeaders = {}

let authority: Authority

const config = (port: number): string => `
import { defineConfig, definePolicy } from "tidegate"
const sees = definePolicy({
  name: "sees",
  reads: () => ["certificate", "user"],
  deadlineMs: 5_000,
  decide: ({ certificate, user }) => ({ setHeaders: { "x-seen": JSON.stringify({ certificate, user }) } }),
})
export default defineConfig({
  workers: 1,
  admin: { address: "127.0.0.1:0" },
  listeners: [{ address: "tcp://127.0.0.1:0", anonymous: false, tls: {
    cert: "${file("server.pem")}", key: "${file("server.key")}",
    clientAuth: { ca: "${file("ca.pem")}", crl: "${file("ca.crl")}", mode: "request", user: "commonName" } } }],
  auth: { acl: [{ allow: "all", topic: "of/%u/#" }] },
  forward: { clientCertificate: "xfcc" },
  upstreams: { api: { endpoints: ["127.0.0.1:${port}"] } },
  routes: [
    { when: { path: "/by/fingerprint", certificate: { fingerprint: "${fingerprint("device")}" } }, to: { respond: { body: "fingerprint" } } },
    { when: { path: "/by/name", certificate: { name: { regex: "spiffe://plant/.*" } } }, to: { respond: { body: "name" } } },
    { when: { path: "/by/subject", certificate: { subject: { regex: ".*O=Plant.*" } } }, to: { respond: { body: "subject" } } },
    { when: { path: "/by/none", certificate: false }, to: { respond: { body: "none" } } },
    { when: { path: "/by/any", certificate: true }, to: { respond: { body: "any" } } },
    { when: { path: "/limited" }, to: { respond: { body: "in" } }, use: [{ rateLimit: { perSecond: 0.01, burst: 1, key: "certificate" } }] },
    { when: { path: "/policy" }, to: "api", use: [sees()] },
    { when: { path: "/api" }, to: "api" },
  ],
})`

function fingerprint(name: string): string {
  return createHash("sha256")
    .update(new X509Certificate(readFileSync(file(`${name}.pem`))).raw)
    .digest("hex")
}

const tls = (name?: string) => ({
  ca: readFileSync(file("ca.pem")),
  ...(name === undefined ? {} : { cert: readFileSync(file(`${name}.pem`)), key: readFileSync(file(`${name}.key`)) }),
})

interface Call {
  readonly as?: string
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

async function call(
  path: string,
  { as, method = "GET", headers = {}, body }: Call = {},
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const options = { ...tls(as), host: "localhost", port: gateway.port, path, method, headers, agent: false as const }
    const sent = request(options, (response) => {
      let text = ""
      response.on("data", (data) => {
        text += data
      })
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }))
    })
    sent.on("error", reject)
    sent.end(body)
  })
}

if (has("openssl", "openssl")) {
  ava.before(async () => {
    authority = createAuthority(folder)
    authority.issue("server", "/CN=localhost", "DNS:localhost,IP:127.0.0.1")
    authority.issue("device", "/CN=device-7/O=Plant", `DNS:device-7.plant,${SPIFFE},email:seven@plant`)
    authority.issue("other", "/CN=other", "DNS:other.plant")
    api = await upstream(({ headers }, response) => {
      heard = headers
      response.end("ok")
    })
    gateway = await runGateway(config(Number(api.address.split(":")[1])))
  })
  ava.after.always(async () => {
    await gateway?.stop()
    api?.server.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test("routes ask for a certificate by fingerprint, name, subject, or that there is one", async (t) => {
    for (const part of ["fingerprint", "name", "subject", "any"]) {
      t.deepEqual(await call(`/by/${part}`, { as: "device" }), { status: 200, text: part })
      t.is((await call(`/by/${part}`)).status, 404, part)
      if (part !== "any") t.is((await call(`/by/${part}`, { as: "other" })).status, 404, part)
    }
    t.is((await call("/by/none")).text, "none")
    t.is((await call("/by/none", { as: "device" })).status, 404)
  })

  test("a limit by certificate tells one client from another", async (t) => {
    const codes = []
    for (const as of ["device", "device", "other"]) codes.push((await call("/limited", { as })).status)
    t.deepEqual(codes, [200, 429, 200])
  })

  test("the service hears of the certificate, and never what a client made up about one", async (t) => {
    const spoofed = { "x-forwarded-client-cert": "Hash=0", "client-cert": ":AAAA:", Client_Cert: ":AAAA:" }
    await call("/api", { as: "device", headers: spoofed })
    const written = 'Subject="CN=device-7, O=Plant";DNS="device-7.plant";URI="spiffe://plant/device-7"'
    t.is(heard["x-forwarded-client-cert"], `Hash=${fingerprint("device")};${written}`)
    t.deepEqual([heard["client-cert"], heard.client_cert], [undefined, undefined])
    await call("/api", { headers: spoofed })
    t.is(heard["x-forwarded-client-cert"], undefined)
  })

  test("the same over HTTP/2", async (t) => {
    const session = connectH2(`https://localhost:${gateway.port}`, tls("device"))
    const stream = session.request({ ":path": "/by/name" })
    let text = ""
    for await (const data of stream.setEncoding("utf8")) text += data
    t.is(text, "name")
    session.close()
  })

  test("a policy reads the certificate and the user that it stands for", async (t) => {
    await call("/policy", { as: "device" })
    const seen = JSON.parse(String(heard["x-seen"]))
    t.is(seen.user, "device-7")
    t.deepEqual(seen.certificate, {
      fingerprint: fingerprint("device"),
      subject: "CN=device-7, O=Plant",
      names: [
        { kind: "dns", name: "device-7.plant" },
        { kind: "uri", name: "spiffe://plant/device-7" },
        { kind: "mail", name: "seven@plant" },
      ],
    })
    await call("/policy")
    t.deepEqual(JSON.parse(String(heard["x-seen"])), { certificate: null, user: null })
  })

  test("it is a login: topics over HTTP and MQTT by the rules of its user, without a password", async (t) => {
    const put = (topic: string, as?: string) =>
      call(`/t/${topic}`, { method: "PUT", body: "1", ...(as === undefined ? {} : { as }) })
    t.is((await put("of/device-7/temp", "device")).status, 202)
    t.is((await put("of/other/temp", "device")).status, 403)
    t.is((await put("of/device-7/temp")).status, 401)
    const client = await mqtt.connectAsync(`mqtts://localhost:${gateway.port}`, {
      ...tls("device"),
      protocolVersion: 5,
    } as mqtt.IClientOptions)
    const values: string[] = []
    client.on("message", (topic, payload) => values.push(`${topic} ${payload}`))
    await client.subscribeAsync("of/device-7/#", { qos: 1 })
    await t.throwsAsync(client.publishAsync("of/other/temp", "2", { qos: 1 }))
    for (const end = Date.now() + 3_000; values.length === 0 && Date.now() < end; ) await sleep(20)
    t.deepEqual(values, ["of/device-7/temp 1"])
    await client.endAsync()
    const stranger = mqtt.connectAsync(`mqtts://localhost:${gateway.port}`, {
      ...tls(),
      reconnectPeriod: 0,
    } as mqtt.IClientOptions)
    await t.throwsAsync(stranger, { message: /Not authorized/i })
  })

  test("a revoked certificate comes in no more once the list says so; others do", async (t) => {
    t.is((await call("/by/any", { as: "other" })).status, 200)
    authority.revoke("other")
    const refused = async (): Promise<boolean> =>
      call("/by/any", { as: "other" }).then(
        () => false,
        () => true,
      )
    let gone = false
    for (const end = Date.now() + 8_000; !gone && Date.now() < end; await sleep(200)) gone = await refused()
    t.true(gone)
    t.is((await call("/by/any", { as: "device" })).status, 200)
  })
}
