/** CoAP over DTLS: libcoap with OpenSSL and GnuTLS, openssl, and Californium with a connection id behind a NAT. */
import { spawnSync } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { createAuthority } from "./authority.ts"
import { californium, hasCalifornium } from "./californium/program.ts"
import { createNat } from "./nat.ts"
import { type Observable, observable } from "./observable.ts"
import { has, type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const folder = mkdtempSync(join(tmpdir(), "tidegate-dtls-"))
const pem = (name: string): string => join(folder, `${name}.pem`)
const psk = [
  { identity: "plant-*", key: "secret" },
  { identity: "fleet-*", key: "hex:6d6173746572", derived: true },
]
const config = (dtls: object): object => ({
  listeners: [{ address: "udp://127.0.0.1:0", anonymous: false, protocols: ["coap", "dtls"], dtls }],
  auth: {
    acl: [
      { user: "plant-1", deny: "publish", topic: "forbidden/#" },
      { allow: "all", topic: "#" },
    ],
  },
})
let gateway: Running
let device: Observable
let isBuilt = true

ava.before(async () => {
  const made = (name: string, ...more: string[]): number | null =>
    spawnSync("openssl", [
      ...["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"],
      ...["-keyout", pem(`${name}-key`), "-out", pem(name), "-subj", `/CN=${name}`, "-x509", ...more],
    ]).status
  for (const name of ["server", "device", "stranger"]) made(name)
  try {
    const clientAuth = { ca: pem("device"), mode: "request" }
    device = await observable("device")
    gateway = await runGateway({
      ...config({ psk, cert: pem("server"), key: pem("server-key"), clientAuth }),
      upstreams: { device: { protocol: "coap", endpoints: [device.address] } },
      routes: [{ when: { path: "/device/{rest}" }, to: "device" }],
    })
  } catch (error) {
    // A clone without clang and cmake: the refusal says what to install.
    if (process.env.CI || !/this build has no DTLS: install clang/.test(String(error))) throw error
    isBuilt = false
  }
})
ava.after.always(async () => {
  await gateway?.stop()
  device?.close()
  rmSync(folder, { recursive: true, force: true })
})

const url = (path: string): string => `coaps://127.0.0.1:${gateway.udpPort}${path}`

for (const library of ["openssl", "gnutls"]) {
  const program = `coap-client-${library}`
  if (!has(program, "libcoap3-bin")) continue
  const client = (identity: string, key: string, ...args: string[]) =>
    run(program, ["-B", "4", "-u", identity, "-k", key, ...args])

  // RFC7252-9.1.2-1
  test(`${program} gets in with its key, publishes and reads`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    await client("plant-1", "secret", "-m", "put", "-e", "21.5", url("/t/dtls/a"))
    t.is((await client("plant-1", "secret", url("/t/dtls/a"))).out.trim(), "21.5")
  })

  test(`${program} observes what an upstream has`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    const watching = client("plant-1", "secret", "-s", "2", url(`/device/${library}`))
    const path = `device/${library}`
    for (const end = Date.now() + 5_000; Date.now() < end && device.observers(path) === 0; ) await sleep(20)
    device.change(path, "changed")
    t.regex((await watching).out, /device 0\s*changed/)
    // The client ends once it has said so; the gateway has to tell it on.
    for (const end = Date.now() + 5_000; Date.now() < end && device.observers(path) > 0; ) await sleep(20)
    t.is(device.observers(path), 0, "libcoap has deregistered, and so has the gateway")
  })

  test(`${program} publishes and reads a body of many blocks`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    const body = "0123456789".repeat(500)
    await client("plant-1", "secret", "-m", "put", "-e", body, url("/t/dtls/large"))
    t.is((await client("plant-1", "secret", url("/t/dtls/large"))).out.trim(), body)
  })

  test(`${program} is refused with an identity or a key that is none`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    await client("plant-1", "secret", "-m", "put", "-e", "secret", url("/t/dtls/kept"))
    t.notRegex((await client("stranger", "secret", url("/t/dtls/kept"))).out, /^secret/m)
    t.notRegex((await client("plant-1", "guess", url("/t/dtls/kept"))).out, /^secret/m)
    const metrics = await (await fetch(`${gateway.admin}/metrics`)).text()
    t.regex(metrics, /tidegate_dropped_total\{protocol="coap",reason="dtls-unknown-identity"\} [1-9]/)
  })

  test(`${program} is held to the rules of its identity`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    t.regex((await client("plant-1", "secret", "-m", "put", "-e", "x", url("/t/forbidden/a"))).out, /4\.03/)
    t.is((await client("plant-2", "secret", "-m", "put", "-e", "x", url("/t/forbidden/a"))).out.trim(), "")
  })
}

if (has("coap-client-notls", "libcoap3-bin")) {
  test("without DTLS topics of the same port answer 4.01", async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    t.regex((await run("coap-client-notls", [url("/t/dtls/a").replace("coaps", "coap")])).out, /4\.01/)
  })
}

if (has("openssl", "openssl")) {
  const handshake = (...args: string[]) =>
    run("timeout", ["4", "openssl", "s_client", "-dtls1_2", "-connect", `127.0.0.1:${gateway.udpPort}`, ...args])

  // RFC7252-9.1.3-2
  test("openssl takes the certificate, and one of a client that is believed", async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    t.regex((await handshake("-CAfile", pem("server"))).out, /Verify return code: 0/)
    const shown = await handshake("-cert", pem("device"), "-key", pem("device-key"))
    t.regex(shown.out, /Cipher is ECDHE-ECDSA-AES/)
  })

  test("a certificate that is revoked comes in no more once the list says so; another one does", async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    const authority = createAuthority(folder)
    authority.issue("one", "/CN=one", "DNS:one")
    authority.issue("other", "/CN=other", "DNS:other")
    const file = (name: string): string => join(folder, name)
    const clientAuth = { ca: file("ca.pem"), crl: file("ca.crl"), mode: "require" }
    const strict = await runGateway(config({ cert: pem("server"), key: pem("server-key"), clientAuth }))
    t.teardown(() => strict.stop())
    // The client has sent its last message when it is told, and thinks that all is well until then.
    const answerTo = async (name: string): Promise<string> => {
      const to = ["s_client", "-dtls1_2", "-connect", `127.0.0.1:${strict.udpPort}`]
      const { out } = await run("timeout", ["4", "openssl", ...to, "-cert", pem(name), "-key", file(`${name}.key`)])
      return /alert certificate revoked/.exec(out)?.[0] ?? /Cipher is [A-Z]{5}/.exec(out)?.[0] ?? out
    }
    t.is(await answerTo("one"), "Cipher is ECDHE")
    t.is(await answerTo("other"), "Cipher is ECDHE")
    authority.revoke("one")
    const revoked = "alert certificate revoked"
    for (const end = Date.now() + 10_000; Date.now() < end && (await answerTo("one")) !== revoked; ) await sleep(50)
    t.is(await answerTo("one"), revoked)
    t.is(await answerTo("other"), "Cipher is ECDHE")
  })

  test("new keys hold from the next handshake on, without a restart", async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    const next = await runGateway(config({ psk }))
    t.teardown(() => next.stop())
    const get = (key: string) =>
      run("coap-client-openssl", ["-B", "3", "-u", "plant-1", "-k", key, `coaps://127.0.0.1:${next.udpPort}/t/none`])
    t.regex((await get("secret")).out, /4\.04/)
    next.configure(config({ psk: [{ identity: "plant-1", key: "changed" }] }))
    for (const end = Date.now() + 8_000; Date.now() < end && !/4\.04/.test((await get("changed")).out); )
      await sleep(50)
    t.regex((await get("changed")).out, /4\.04/)
    t.notRegex((await get("secret")).out, /4\.04/)
  })
}

if (hasCalifornium()) {
  test("Californium goes on behind a NAT that changes, and its observation too", async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    // Every fifth datagram comes twice, some late.
    const nat = await createNat(gateway.udpPort, (index) => (index % 5 === 0 ? [0, 3] : index % 7 === 0 ? [5] : [0]))
    const client = await californium(`coaps://127.0.0.1:${nat.port}`, "plant-9", "secret")
    t.teardown(() => {
      client.stop()
      nat.close()
    })
    const tell = async (line: string, answer: RegExp): Promise<void> => {
      await client.tell(line, answer)
      t.regex(client.out(), answer, line)
    }
    const handshakes = async (): Promise<string | undefined> =>
      /tidegate_dtls_handshakes_total (\d+)/.exec(await (await fetch(`${gateway.admin}/metrics`)).text())?.[1]
    await tell("put /t/nat/a first", /put 2.04/)
    await tell("observe /t/nat/a", /observed 2.05 first/)
    const before = await handshakes()
    for (const round of [1, 2, 3, 4, 5, 6]) {
      await nat.rebind()
      await tell(`put /t/nat/a round${round}`, new RegExp(`observed 2.05 round${round}`))
    }
    t.is(await handshakes(), before, "no further handshake")
  })
}
