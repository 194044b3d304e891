/** Keys of DTLS that a policy is asked for (`onPsk`): libcoap with OpenSSL and GnuTLS, while others go on. */
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { has, type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial

/** One worker: who waits for a key and who does not share it. */
const config = `
import { setTimeout as sleep } from "node:timers/promises"
import { defineConfig, definePolicy } from "tidegate"

let asked = 0
const keys = { text: "secret", digits: "hex:736563726574", bytes: Buffer.from("secret"), ruled: "secret" }
const known = definePolicy({
  name: "known",
  deadlineMs: 3_000,
  cache: () => ({ by: "clientId", ttlMs: 60_000 }),
  reads: () => ["hook"],
  decide: async (message) => {
    const { clientId, protocol, source } = message
    if (clientId.startsWith("slow")) {
      await sleep(700)
      return { psk: "secret" }
    }
    if (clientId.startsWith("fragments")) return { psk: "secret" }
    if (clientId === "seen") {
      return { psk: [message.attribute("hook"), protocol, source].join(" ") }
    }
    await sleep(20)
    if (clientId === "barred") return "reject"
    if (clientId === "counted") return { psk: "asked " + ++asked }
    if (clientId === "nonsense") return { psk: 7 }
    if (clientId === "long") return { psk: "x".repeat(33) }
    return { psk: keys[clientId] }
  },
})
const never = definePolicy({
  name: "never",
  deadlineMs: 50,
  filter: () => ({ clientId: "silence" }),
  decide: () => new Promise(() => {}),
})

export default defineConfig({
  workers: 1,
  admin: { address: "127.0.0.1:0" },
  listeners: [
    {
      address: "udp://127.0.0.1:0",
      anonymous: false,
      protocols: ["coap", "dtls"],
      dtls: { askForKey: true, psk: [{ identity: "table", key: "secret" }] },
    },
  ],
  auth: { acl: [{ user: "ruled", deny: "publish", topic: "forbidden/#" }, { allow: "all", topic: "#" }] },
  broker: { hooks: { onPsk: [never(), known()] } },
})
`

let gateway: Running
let isBuilt = true

ava.before(async () => {
  try {
    gateway = await runGateway(config)
  } catch (error) {
    // A clone without clang and cmake: the refusal says what to install.
    if (process.env.CI || !/this build has no DTLS: install clang/.test(String(error))) throw error
    isBuilt = false
  }
})
ava.after.always(async () => {
  await gateway?.stop()
})

const metric = async (pattern: RegExp): Promise<number> => {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  return Number(pattern.exec(text)?.[1] ?? 0)
}

const calls = async (policy: string, outcome: string): Promise<number> => {
  const rows = (await (await fetch(`${gateway.admin}/metrics`)).text()).split("\n")
  const own = rows.filter((row) => row.startsWith("tidegate_policy_calls_total{") && row.includes(`"${policy}"`))
  return Number(
    own
      .find((row) => row.includes(`"${outcome}"`))
      ?.split(" ")
      .at(-1) ?? 0,
  )
}

for (const library of ["openssl", "gnutls"]) {
  const program = `coap-client-${library}`
  if (!has(program, "libcoap3-bin")) continue
  const client = (identity: string, key: string, ...args: string[]) => {
    const url = `coaps://127.0.0.1:${gateway.udpPort}/t/asked`
    return run(program, ["-B", "4", "-u", identity, "-k", key, ...args, url])
  }

  test(`${program} gets in with the key that a policy gives, as text, digits and bytes`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    await client("table", "secret", "-m", "put", "-e", `by ${library}`)
    for (const identity of ["table", "text", "digits", "bytes"])
      t.is((await client(identity, "secret")).out.trim(), `by ${library}`, identity)
    t.is((await client("seen", "psk coap 127.0.0.1")).out.trim(), `by ${library}`, "what a policy sees")
  })

  test(`${program} does not get in without a key, with a wrong one, or where no verdict is one`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    for (const [identity, key] of [
      ["stranger", "secret"],
      ["text", "guess"],
      ["barred", "secret"],
      ["nonsense", "secret"],
      ["long", "x".repeat(33)],
      ["silence", "secret"],
    ] as const)
      t.notRegex((await client(identity, key)).out, /^by /m, identity)
    t.true((await metric(/reason="dtls-unknown-identity"\} (\d+)/)) > 0)
    t.true((await metric(/reason="dtls-wrong-key"\} (\d+)/)) > 0)
    t.true((await calls("never", "timeout")) > 0)
    t.notRegex(gateway.output(), /736563726574|secret/, "a key is in no log")
  })

  test(`${program} gets in without sending again while its key is on its way, and others go on`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    let isOver = false
    const slow = client(`slow-${library}`, "secret").finally(() => {
      isOver = true
    })
    await sleep(150)
    t.is((await client("table", "secret")).out.trim(), `by ${library}`)
    t.false(isOver)
    t.is((await slow).out.trim(), `by ${library}`)
  })

  test(`${program} is held to the rules of its identity`, async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    const forbidden = `coaps://127.0.0.1:${gateway.udpPort}/t/forbidden/a`
    const put = ["-B", "4", "-u", "ruled", "-k", "secret", "-m", "put", "-e", "x", forbidden]
    t.regex((await run(program, put)).out, /4\.03/)
  })
}

if (has("coap-client-openssl", "libcoap3-bin")) {
  test("a verdict is kept for its time: nobody is asked again", async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    const url = `coaps://127.0.0.1:${gateway.udpPort}/t/none`
    const enter = (key: string) => run("coap-client-openssl", ["-B", "3", "-u", "counted", "-k", key, url])
    t.regex((await enter("asked 1")).out, /4\.04/)
    const before = await calls("known", "cached")
    t.regex((await enter("asked 1")).out, /4\.04/)
    t.is(await calls("known", "cached"), before + 1)
    t.notRegex((await enter("asked 2")).out, /4\.04/)
  })
}

if (has("openssl", "openssl")) {
  test("an identity that openssl has to send in fragments is asked about", async (t) => {
    if (!isBuilt) return t.pass("this build has no DTLS")
    // Its ClientKeyExchange is longer than the datagrams that it is let.
    const identity = `fragments-${"x".repeat(240)}`
    const to = ["s_client", "-dtls1_2", "-connect", `127.0.0.1:${gateway.udpPort}`, "-mtu", "256"]
    const key = ["-cipher", "PSK-AES128-CCM8", "-psk_identity", identity, "-psk", Buffer.from("secret").toString("hex")]
    const { out } = await run("timeout", ["4", "openssl", ...to, ...key])
    t.regex(out, /Cipher is PSK-AES128-CCM8/)
  })
}
