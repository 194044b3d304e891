/** DTLS sessions over a restart, with Californium: it goes on without a handshake, once, and only as long as its key does. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { freePort } from "../free-port.mjs"
import { californium, hasCalifornium } from "./californium/program.ts"
import { type Running, runGateway } from "./run-gateway.ts"

const test = ava.serial

const metric = async ({ admin }: Running, pattern: RegExp): Promise<number> => {
  const text = await (await fetch(`${admin}/metrics`)).text()
  return Number(pattern.exec(text)?.[1] ?? 0)
}
const handshakes = (gateway: Running) => metric(gateway, /^tidegate_dtls_handshakes_total (\d+)$/m)
const unknown = (gateway: Running) => metric(gateway, /reason="dtls-unknown"\} (\d+)$/m)

if (hasCalifornium()) {
  test("a session goes on after a restart, its numbers too, and ends with its key", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "tidegate-restart-"))
    t.teardown(() => rmSync(folder, { recursive: true, force: true }))
    const address = `udp://127.0.0.1:${await freePort("udp")}`
    const saved = join(folder, "data", "dtls")
    const files = (): string[] => (existsSync(saved) ? readdirSync(saved) : [])
    const start = (key: string): Promise<Running> => {
      const dtls = { psk: [{ identity: "plant-*", key }] }
      const listener = { address, anonymous: false, protocols: ["coap", "dtls"], dtls }
      const auth = { acl: [{ user: "plant-9", allow: "all", topic: "#" }] }
      return runGateway({ dataDir: join(folder, "data"), listeners: [listener], auth })
    }
    let gateway: Running
    try {
      gateway = await start("secret")
    } catch (error) {
      // A clone without clang and cmake: the refusal says what to install.
      if (process.env.CI || !/this build has no DTLS: install clang/.test(String(error))) throw error
      return t.pass("this build has no DTLS")
    }
    t.teardown(() => gateway.stop())
    const client = await californium(address.replace("udp", "coaps"), "plant-9", "secret")
    t.teardown(client.stop)
    const put = async (body: string): Promise<void> => {
      t.true(await client.tell(`put /t/kept ${body}`, new RegExp(`put 2\\.04 ${body}$`, "m")), client.out())
    }
    await put("before")
    t.is(await handshakes(gateway), 1)
    for (const round of ["first", "second"]) {
      t.is(await gateway.stop(), 0)
      const [file = ""] = files()
      t.is(files().length, 1, "one worker has the session")
      t.is(statSync(join(saved, file)).mode & 0o777, 0o600)
      t.false(readFileSync(join(saved, file)).includes("plant-9"), "sealed")
      gateway = await start("secret")
      await put(round)
      t.is(await handshakes(gateway), 0, "who it is was known, too")
      t.deepEqual(files(), [], "good for one life")
    }
    await gateway.stop()
    gateway = await start("changed")
    await client.tell("put /t/kept late", /late/, 0)
    for (const end = Date.now() + 10_000; Date.now() < end && (await unknown(gateway)) === 0; ) await sleep(50)
    t.true((await unknown(gateway)) > 0)
    t.deepEqual(files(), [])
  })
}
