/**
 * CoAP through a network that loses a tenth of the datagrams, doubles a tenth and holds a tenth
 * back: every request is answered, and what was sent twice is done once.
 */
import ava from "ava"
import { hasAiocoap, python } from "./aiocoap/python.ts"
import { createNat, lossy, type Nat } from "./nat.ts"
import { has, type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const ROUNDS = 12
let gateway: Running
let nat: Nat

ava.before(async () => {
  gateway = await runGateway()
  nat = await createNat(gateway.udpPort, lossy())
})
ava.after.always(async () => {
  nat?.close()
  await gateway?.stop()
})

/** Messages that CoAP has brought, of any QoS. */
async function published(): Promise<number> {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text()
  const lines = text.matchAll(/^tidegate_messages_total\{([^}]*protocol="coap"[^}]*)\} (\d+)$/gm)
  return [...lines]
    .filter(([, labels]) => labels?.includes('direction="in"'))
    .reduce((sum, [, , n]) => sum + Number(n), 0)
}

if (has("coap-client-notls", "libcoap3-bin")) {
  test("libcoap's requests arrive once each", async (t) => {
    const url = `coap://127.0.0.1:${nat.port}/t/libcoap`
    const before = await published()
    for (let round = 0; round < ROUNDS; round += 1) {
      const put = await run("coap-client-notls", ["-B", "25", "-m", "put", "-e", `round${round}`, url], 30_000)
      t.is(put.code, 0)
      const get = await run("coap-client-notls", ["-B", "25", url], 30_000)
      t.is(get.out.trim(), `round${round}`)
    }
    t.is((await published()) - before, ROUNDS)
  })
}

if (hasAiocoap()) {
  test("aiocoap's requests arrive once each, and its observation sees the last state", async (t) => {
    const client = python("client.py", [`coap://127.0.0.1:${nat.port}`])
    t.teardown(() => {
      client.child.kill()
    })
    t.true(await client.tell("", /ready/), client.out())
    const before = await published()
    for (let round = 0; round < ROUNDS; round += 1) {
      t.true(await client.tell(`PUT /t/aio round${round}`, new RegExp(`round${round}: 2\\.04`), 60_000), client.out())
      if (round === 0)
        t.true(await client.tell("observe /t/aio", /observed 2\.05 Content round0/, 60_000), client.out())
    }
    t.is((await published()) - before, ROUNDS)
    t.true(await client.tell("", new RegExp(`observed 2\\.05 Content round${ROUNDS - 1}`), 60_000), client.out())
  })
}
