/**
 * Secured devices that sleep behind a NAT and come back from another address: aiocoap with OSCORE,
 * Californium with DTLS and a connection id. What was published meanwhile reaches their observations.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava, { type ExecutionContext } from "ava"
import { hasAiocoap, python } from "./aiocoap/python.ts"
import { californium, hasCalifornium } from "./californium/program.ts"
import { createNat } from "./nat.ts"
import { type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial
const folder = mkdtempSync(join(tmpdir(), "tidegate-sleep-"))
const secret = "0102030405060708090a0b0c0d0e0f10"

/** Two workers: the records of a device find that which knows it. */
const config = (listener: object): object => ({
  dataDir: join(folder, "data"),
  coap: { ackTimeoutMs: 150, maxRetransmit: 1 },
  listeners: [
    { address: "tcp://127.0.0.1:0", protocols: "detect", anonymous: true },
    { address: "udp://127.0.0.1:0", anonymous: false, ...listener },
  ],
  auth: { acl: [{ allow: "all", topic: "#" }] },
})

ava.after.always(() => rmSync(folder, { recursive: true, force: true }))

async function asleep(gateway: Running, count: number): Promise<boolean> {
  const holds = async (): Promise<boolean> =>
    new RegExp(`^tidegate_coap_asleep ${count}$`, "m").test(await (await fetch(`${gateway.admin}/metrics`)).text())
  for (const end = Date.now() + 8_000; Date.now() < end; await sleep(20)) if (await holds()) return true
  return false
}

/** The device observes; its network is gone, and is there again under another address. */
async function sleepsAndWakes(t: ExecutionContext, gateway: Running, begin: (port: number) => Promise<Device>) {
  let isThere = true
  const nat = await createNat(gateway.udpPort, () => (isThere ? [0] : []))
  const publish = (body: string) =>
    fetch(`http://127.0.0.1:${gateway.port}/t/commands?retain=false`, { method: "POST", body })
  const device = await begin(nat.port)
  t.teardown(() => {
    device.stop()
    nat.close()
  })
  t.true(await device.tell("observe /t/commands", /observed 2\.05/), device.out())
  await publish("first")
  t.true(await device.tell("", /observed 2\.05(?: Content)? first/), device.out())
  isThere = false
  for (const command of ["open", "wait", "close"]) await publish(command)
  t.true(await asleep(gateway, 1))
  await nat.rebind()
  isThere = true
  t.true(await device.tell(device.contact, /observed 2\.05(?: Content)? close/), device.out())
  const heard = [...device.out().matchAll(/observed 2\.05(?: Content)? ([a-z]+)/g)].map(([, word]) => word)
  t.deepEqual(heard, ["first", "open", "wait", "close"])
  t.true(await asleep(gateway, 0))
}

interface Device {
  readonly contact: string
  readonly out: () => string
  tell(line: string, answer: RegExp): Promise<boolean>
  stop(): void
}

if (hasAiocoap()) {
  test("aiocoap with OSCORE", async (t) => {
    const settings = { secret_hex: secret, "sender-id_hex": "01", "recipient-id_hex": "ff" }
    writeFileSync(join(folder, "settings.json"), JSON.stringify(settings))
    const context = { name: "lock", masterSecret: `hex:${secret}`, senderId: "ff", recipientId: "01" }
    const gateway = await runGateway(config({ protocols: ["coap", "oscore"], oscore: [context] }))
    t.teardown(() => gateway.stop())
    await sleepsAndWakes(t, gateway, async (port) => {
      const client = python("client.py", [`coap://127.0.0.1:${port}`, folder])
      await client.tell("", /ready/)
      return { ...client, contact: "PUT /t/lock awake", stop: () => client.child.kill() }
    })
  })
}

if (hasCalifornium()) {
  test("Californium with DTLS and a connection id", async (t) => {
    let gateway: Running
    try {
      const psk = [{ identity: "lock-1", key: "secret" }]
      gateway = await runGateway(config({ protocols: ["coap", "dtls"], dtls: { psk } }))
    } catch (error) {
      // A clone without clang and cmake: the refusal says what to install.
      if (process.env.CI || !/this build has no DTLS: install clang/.test(String(error))) throw error
      return t.pass("this build has no DTLS")
    }
    t.teardown(() => gateway.stop())
    return sleepsAndWakes(t, gateway, async (port) => {
      const client = await californium(`coaps://127.0.0.1:${port}`, "lock-1", "secret")
      return { ...client, contact: "put /t/lock awake" }
    })
  })
}
