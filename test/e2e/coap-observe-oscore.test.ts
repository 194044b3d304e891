/** Observing through routes over OSCORE: aiocoap watches libcoap's server and one made here, each state sealed for it. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import ava from "ava"
import { hasAiocoap, type Python, python } from "./aiocoap/python.ts"
import { createNat } from "./nat.ts"
import { freeUdpPort, type Observable, observable } from "./observable.ts"
import { has, type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const folder = mkdtempSync(join(tmpdir(), "tidegate-observe-oscore-"))
const secret = "0102030405060708090a0b0c0d0e0f10"
const devices = { lamp: "01", fan: "02", moving: "03" } as const

async function until(holds: () => boolean | Promise<boolean>, forMs = 10_000): Promise<boolean> {
  for (const end = Date.now() + forMs; Date.now() < end; await sleep(20)) if (await holds()) return true
  return false
}

if (hasAiocoap()) {
  let gateway: Running
  let own: Observable
  let server: ChildProcess
  let libcoap = 0
  const started: Python[] = []

  ava.before(async () => {
    own = await observable("own")
    libcoap = await freeUdpPort()
    server = spawn("coap-server-notls", ["-A", "127.0.0.1", "-p", String(libcoap), "-d", "100"])
    server.on("error", () => {})
    gateway = await runGateway({
      // Both workers: a context has one of them, wherever the kernel deals its datagrams.
      workers: 2,
      dataDir: join(folder, "data"),
      coap: { ackTimeoutMs: 200, maxRetransmit: 2, maxAsleepS: 0 },
      listeners: [
        { address: "tcp://127.0.0.1:0", protocols: "detect", anonymous: true },
        {
          address: "udp://127.0.0.1:0",
          protocols: ["coap", "oscore"],
          oscore: Object.entries(devices).map(([name, recipientId]) => ({
            name,
            masterSecret: `hex:${secret}`,
            senderId: "ff",
            recipientId,
          })),
        },
      ],
      auth: { acl: [{ allow: "all", topic: "#" }] },
      upstreams: {
        own: { protocol: "coap", endpoints: [own.address] },
        libcoap: { protocol: "coap", endpoints: [`127.0.0.1:${libcoap}`] },
      },
      routes: [
        { when: { path: "/own/{rest}" }, to: "own" },
        { when: { path: "/lib/{rest}" }, to: "libcoap", use: [{ rewrite: { path: "/{rest}" } }] },
      ],
    })
  })
  ava.after.always(async () => {
    for (const { child } of started) child.kill()
    server?.kill()
    own?.close()
    await gateway?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const client = async (name: keyof typeof devices, port = gateway.udpPort): Promise<Python> => {
    const place = join(folder, name)
    mkdirSync(place)
    const settings = { secret_hex: secret, "sender-id_hex": devices[name], "recipient-id_hex": "ff" }
    writeFileSync(join(place, "settings.json"), JSON.stringify(settings))
    const made = python("client.py", [`coap://127.0.0.1:${port}`, place])
    started.push(made)
    await made.tell("", /ready/)
    return made
  }
  const relayed = async (): Promise<number> => {
    const text = await (await fetch(`${gateway.admin}/metrics`)).text()
    return Number(/^tidegate_coap_upstream_observations (\d+)$/m.exec(text)?.[1])
  }
  let lamp: Python

  test("each state of an upstream's resource reaches the device, those of many blocks too", async (t) => {
    lamp = await client("lamp")
    t.true(await lamp.tell("observe /own/state", /observed 2\.05 Content own 0/), lamp.out())
    for (const state of ["on", "off", "on again"]) {
      own.change("own/state", state)
      t.true(await until(() => lamp.out().includes(`observed 2.05 Content ${state}\n`)), lamp.out())
    }
    own.change("own/state", "0123456789".repeat(300))
    t.true(await until(() => /observed 2\.05 Content (0123456789){300}\n/.test(lamp.out())), lamp.out())
    t.is(own.registrations("own/state"), 1)
    t.is(await relayed(), 1)
  })

  test("what ends an observation is told within the protection", async (t) => {
    t.true(await lamp.tell("observe /own/error", /observed 2\.05 Content own 0[\s\S]*observed 2\.05 Content own 0/))
    t.is(await relayed(), 2)
    own.fail("own/error", "4.04")
    t.true(await until(() => /observed 4\.04|observed no more/.test(lamp.out())), lamp.out())
    t.true(await until(async () => (await relayed()) === 1))
  })

  test("a device behind a NAT that changes goes on observing", async (t) => {
    const nat = await createNat(gateway.udpPort)
    const moving = await client("moving", nat.port)
    t.true(await moving.tell("observe /own/moving", /observed 2\.05 Content own 0/), moving.out())
    for (const round of [1, 2, 3]) {
      await nat.rebind()
      // The address moves with the next request that is authentic.
      t.true(await moving.tell(`GET /own/other${round}`, new RegExp(`GET /own/other${round}: 2\\.05`)), moving.out())
      own.change("own/moving", `round${round}`)
      t.true(await until(() => moving.out().includes(`observed 2.05 Content round${round}`)), moving.out())
    }
    t.is(own.registrations("own/moving"), 1)
    // Gone without a word: what acknowledges no notification any more observes nothing.
    moving.child.kill("SIGKILL")
    nat.close()
    own.change("own/moving", "unheard")
    t.true(await until(() => own.observers("own/moving") === 0), "its endpoint is told")
  })

  if (has("coap-server-notls", "libcoap3-bin") && has("coap-client-notls", "libcoap3-bin")) {
    test("two devices observe one resource of libcoap's server", async (t) => {
      const data = `coap://127.0.0.1:${libcoap}/example_data`
      await run("coap-client-notls", ["-m", "put", "-e", "small", data])
      const fan = await client("fan")
      for (const device of [lamp, fan]) {
        t.true(await device.tell("observe /lib/example_data", /observed 2\.05 Content small/), device.out())
      }
      await run("coap-client-notls", ["-m", "put", "-e", "other", data])
      for (const device of [lamp, fan]) {
        t.true(await until(() => /observed 2\.05 Content other/.test(device.out())), device.out())
      }
      t.true(await fan.tell("large /lib/example_data", /large \/lib\/example_data: 2\.0/), fan.out())
      for (const device of [lamp, fan]) {
        t.true(
          await until(() => (device.out().match(/observed 2\.05 Content (0123456789){300}/g)?.length ?? 0) > 0),
          device.out(),
        )
      }
    })
  }
}
