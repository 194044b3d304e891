/** OSCORE (RFC 8613) with aiocoap as the device: topics, blocks, Observe, access rules, a gateway that is killed. */

import { createSocket } from "node:dgram"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import ava from "ava"
import { hasAiocoap, type Python, python } from "./aiocoap/python.ts"
import { createNat } from "./nat.ts"
import { type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const folder = mkdtempSync(join(tmpdir(), "tidegate-oscore-"))
const secret = "0102030405060708090a0b0c0d0e0f10"

const device = (name: string, id: string): string => {
  const place = join(folder, name)
  mkdirSync(place)
  const settings = { secret_hex: secret, "sender-id_hex": id, "recipient-id_hex": "ff" }
  writeFileSync(join(place, "settings.json"), JSON.stringify(settings))
  return place
}
const context = (name: string, recipientId: string): object => ({
  name,
  masterSecret: `hex:${secret}`,
  senderId: "ff",
  recipientId,
})
const config = (udp: string): object => ({
  dataDir: join(folder, "data"),
  listeners: [
    { address: "tcp://127.0.0.1:0", protocols: "detect", anonymous: true },
    {
      address: udp,
      anonymous: false,
      protocols: ["coap", "oscore"],
      oscore: [context("lamp", "01"), context("fan", "02"), context("nat", "03")],
    },
  ],
  auth: {
    acl: [
      { user: "fan", deny: "all", topic: "lamp/#" },
      { allow: "all", topic: "#" },
    ],
  },
})

if (hasAiocoap()) {
  let gateway: Running
  const started: Python[] = []

  ava.before(async () => {
    const free = createSocket("udp4").bind(0, "127.0.0.1")
    await once(free, "listening")
    const { port } = free.address()
    await new Promise<void>((resolve) => {
      free.close(() => resolve())
    })
    gateway = await runGateway(config(`udp://127.0.0.1:${port}`))
  })
  ava.after.always(async () => {
    for (const { child } of started) child.kill()
    await gateway?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  const client = async (name: string, id: string, port = gateway.udpPort): Promise<Python> => {
    const made = python("client.py", [`coap://127.0.0.1:${port}`, device(name, id)])
    started.push(made)
    await made.tell("", /ready/)
    return made
  }
  let lamp: Python

  test("a device publishes, reads and sends and gets bodies in blocks", async (t) => {
    lamp = await client("lamp", "01")
    t.true(await lamp.tell("PUT /t/lamp/state on", /PUT \/t\/lamp\/state on: 2\.04/), lamp.out())
    t.true(await lamp.tell("GET /t/lamp/state", /GET \/t\/lamp\/state: 2\.05 Content 2 on/), lamp.out())
    t.true(await lamp.tell("large /t/lamp/log", /large \/t\/lamp\/log: 2\.04/), lamp.out())
    t.true(await lamp.tell("GET /t/lamp/log", /GET \/t\/lamp\/log: 2\.05 Content 3000 0123456789/), lamp.out())
    t.true(await lamp.tell("GET /t/none", /GET \/t\/none: 4\.04/), lamp.out())
    t.true(await lamp.tell("GET /.well-known/core", /GET \/.well-known\/core: 2\.05 Content \d+ <\/t>/), lamp.out())
    const http = await fetch(`http://127.0.0.1:${gateway.port}/t/lamp/state`)
    t.is(await http.text(), "on")
  })

  test("its name is whom the access rules mean, and without a context topics are closed", async (t) => {
    const fan = await client("fan", "02")
    t.true(await fan.tell("GET /t/lamp/state", /GET \/t\/lamp\/state: 4\.03/), fan.out())
    t.true(await fan.tell("PUT /t/fan/state off", /PUT \/t\/fan\/state off: 2\.04/), fan.out())
    const plain = await run("coap-client-notls", ["-B", "4", `coap://127.0.0.1:${gateway.udpPort}/t/lamp/state`])
    t.regex(plain.out, /4\.01/)
    const stranger = await client("stranger", "07")
    t.true(await stranger.tell("GET /t/fan/state", /GET \/t\/fan\/state: failed/), stranger.out())
    t.regex(await (await fetch(`${gateway.admin}/metrics`)).text(), /reason="oscore-unknown"} 1/)
  })

  test("it observes, and goes on behind a NAT that changes and doubles", async (t) => {
    const nat = await createNat(gateway.udpPort, (index) => (index % 4 === 0 ? [0, 3] : [0]))
    const moving = await client("moving", "03", nat.port)
    t.true(await moving.tell("PUT /t/moving first", /PUT \/t\/moving first: 2\.04/), moving.out())
    t.true(await moving.tell("observe /t/moving", /observed 2\.05 Content first/), moving.out())
    for (const round of [1, 2, 3, 4]) {
      await nat.rebind()
      t.true(
        await moving.tell(`PUT /t/moving round${round}`, new RegExp(`observed 2\\.05 Content round${round}`)),
        moving.out(),
      )
    }
    nat.close()
  })

  test("a gateway that was killed asks once whether the device is there now, and uses no number again", async (t) => {
    const port = gateway.udpPort
    gateway.process.kill("SIGKILL")
    await once(gateway.process, "exit")
    gateway = await runGateway(config(`udp://127.0.0.1:${port}`))
    t.true(
      await lamp.tell("GET /t/lamp/state", /state: 2\.05 Content 2 on[\s\S]*state: 2\.05 Content 2 on/),
      lamp.out(),
    )
    t.true(await lamp.tell("PUT /t/lamp/state dim", /state dim: 2\.04/), lamp.out())
    t.regex(await (await fetch(`${gateway.admin}/metrics`)).text(), /reason="oscore-unsynchronized"} 1/)
  })
}
