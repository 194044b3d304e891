/**
 * Californium through a network that loses a tenth of the datagrams, doubles a tenth and holds
 * a tenth back, plain and with DTLS and a connection id while its address changes.
 */
import ava from "ava"
import { californium, hasCalifornium } from "./californium/program.ts"
import { createNat, lossy, type Nat } from "./nat.ts"
import { type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
const ROUNDS = 12
/** Retransmissions take their time. */
const PATIENCE_MS = 60_000
let gateway: Running
let nat: Nat
let isBuilt = true

ava.before(async () => {
  const listener = { address: "udp://127.0.0.1:0", protocols: ["coap", "dtls"] }
  const psk = [{ identity: "plant-9", key: "secret" }]
  try {
    gateway = await runGateway({ listeners: [{ ...listener, dtls: { psk } }] })
  } catch (error) {
    // A clone without clang and cmake: the refusal says what to install.
    if (process.env.CI || !/this build has no DTLS: install clang/.test(String(error))) throw error
    isBuilt = false
    gateway = await runGateway()
  }
  nat = await createNat(gateway.udpPort, lossy())
})
ava.after.always(async () => {
  nat?.close()
  await gateway?.stop()
})

const metric = async (pattern: RegExp): Promise<number> => {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  return [...text.matchAll(pattern)].reduce((sum, [, count]) => sum + Number(count), 0)
}
const published = () => metric(/^tidegate_messages_total\{direction="in",protocol="coap"[^}]*\} (\d+)$/gm)
const handshakes = () => metric(/^tidegate_dtls_handshakes_total (\d+)$/gm)

if (hasCalifornium()) {
  for (const scheme of ["coap", "coaps"] as const) {
    test(`its requests by ${scheme} arrive once each, and its observation sees the last state`, async (t) => {
      if (scheme === "coaps" && !isBuilt) return t.pass("this build has no DTLS")
      const key = scheme === "coaps" ? (["plant-9", "secret"] as const) : ([] as const)
      const client = await californium(`${scheme}://127.0.0.1:${nat.port}`, ...key)
      t.teardown(client.stop)
      const [before, begun] = [await published(), await handshakes()]
      const where = `/t/californium/${scheme}`
      for (let round = 1; round <= ROUNDS; round += 1) {
        // Without security an observation stays with its address.
        if (scheme === "coaps" && round % 3 === 0) await nat.rebind()
        const done = new RegExp(`put 2\\.04 round${round}$`, "m")
        t.true(await client.tell(`put ${where} round${round}`, done, PATIENCE_MS), client.out())
        if (round === 1)
          t.true(await client.tell(`observe ${where}`, /observed 2\.05 round1$/m, PATIENCE_MS), client.out())
      }
      t.true(await client.tell(`get ${where}`, new RegExp(`get 2\\.05 round${ROUNDS}$`, "m"), PATIENCE_MS))
      t.true(await client.tell("", new RegExp(`observed 2\\.05 round${ROUNDS}$`, "m"), PATIENCE_MS), client.out())
      t.is((await published()) - before, ROUNDS, "each once")
      t.is((await handshakes()) - begun, scheme === "coaps" ? 1 : 0)
    })
  }
}
