/** OSCORE (RFC 8613) over TCP with aiocoap as the device, and over WebSocket with the messages of the RFC's appendix. */
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import ava from "ava"
import WebSocket from "ws"
import { hasAiocoap, type Python, python } from "./aiocoap/python.ts"
import { type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const folder = mkdtempSync(join(tmpdir(), "tidegate-oscore-streams-"))
const secret = "0102030405060708090a0b0c0d0e0f10"
const context = (name: string, recipientId: string): object => ({
  name,
  masterSecret: `hex:${secret}`,
  senderId: "ff",
  recipientId,
})
const config = {
  dataDir: join(folder, "data"),
  listeners: [
    {
      address: "tcp://127.0.0.1:0",
      anonymous: false,
      protocols: ["http1", "websocket", "oscore"],
      oscore: [
        context("lamp", "01"),
        context("fan", "02"),
        // RFC 8613 appendix C.1.2
        {
          name: "rfc",
          masterSecret: `hex:${secret}`,
          masterSalt: "hex:9e7ca92223786340",
          senderId: "01",
          recipientId: "",
        },
      ],
    },
    { address: "udp://127.0.0.1:0", protocols: ["coap"] },
  ],
  auth: {
    acl: [
      { user: "fan", deny: "all", topic: "lamp/#" },
      { allow: "all", topic: "#" },
    ],
  },
  routes: [{ when: { path: "/tv1" }, to: { respond: { status: 200, body: "Hello World!" } } }],
}
let gateway: Running
const started: Python[] = []

/** A device; one of the same name again goes on with its numbers. */
const device = async (name: string, id: string): Promise<Python> => {
  const place = join(folder, name)
  mkdirSync(place, { recursive: true })
  const settings = { secret_hex: secret, "sender-id_hex": id, "recipient-id_hex": "ff" }
  writeFileSync(join(place, "settings.json"), JSON.stringify(settings))
  const made = python("client.py", [`coap+tcp://127.0.0.1:${gateway.port}`, place])
  started.push(made)
  await made.tell("", /ready/)
  return made
}
const end = async ({ child }: Python): Promise<void> => {
  child.stdin?.end("\n")
  if (child.exitCode === null) await once(child, "exit")
}
const metrics = async (): Promise<string> => (await fetch(`${gateway.admin}/metrics`)).text()

ava.before(async () => {
  gateway = await runGateway(config)
})
ava.after.always(async () => {
  for (const { child } of started) child.kill()
  await gateway?.stop()
  rmSync(folder, { recursive: true, force: true })
})

if (hasAiocoap()) {
  test("a device publishes, reads, observes and sends and gets bodies in blocks", async (t) => {
    const lamp = await device("lamp", "01")
    t.true(await lamp.tell("PUT /t/lamp/state on", /PUT \/t\/lamp\/state on: 2\.04/), lamp.out())
    t.true(await lamp.tell("GET /t/lamp/state", /GET \/t\/lamp\/state: 2\.05 Content 2 on/), lamp.out())
    t.true(await lamp.tell("observe /t/lamp/state", /observed 2\.05 Content on/), lamp.out())
    for (const state of ["dim", "off"])
      t.true(await lamp.tell(`PUT /t/lamp/state ${state}`, new RegExp(`observed 2\\.05 Content ${state}`)), lamp.out())
    t.true(await lamp.tell("large /t/lamp/log", /large \/t\/lamp\/log: 2\.04/), lamp.out())
    t.true(await lamp.tell("GET /t/lamp/log", /GET \/t\/lamp\/log: 2\.05 Content 3000 0123456789/), lamp.out())
    t.true(await lamp.tell("GET /t/none", /GET \/t\/none: 4\.04/), lamp.out())
    t.true(await lamp.tell("GET /.well-known/core", /GET \/.well-known\/core: 2\.05 Content \d+ <\/t>/), lamp.out())
    await end(lamp)
  })

  test("it goes on over other connections, whichever workers they come to", async (t) => {
    for (let times = 0; times < 4; times += 1) {
      const lamp = await device("lamp", "01")
      t.true(await lamp.tell("GET /t/lamp/state", /GET \/t\/lamp\/state: 2\.05 Content 3 off/), lamp.out())
      await end(lamp)
    }
  })

  test("its name is whom the access rules mean, and what is not protected is told so", async (t) => {
    const fan = await device("fan", "02")
    t.true(await fan.tell("GET /t/lamp/state", /GET \/t\/lamp\/state: 4\.03/), fan.out())
    t.true(await fan.tell("PUT /t/fan/state off", /PUT \/t\/fan\/state off: 2\.04/), fan.out())
    for (const where of ["t/lamp/state", ".well-known/core"]) {
      const plain = await run("coap-client-notls", ["-B", "4", `coap+tcp://127.0.0.1:${gateway.port}/${where}`])
      t.regex(plain.out, /4\.01.*OSCORE is wanted here/)
    }
    const stranger = await device("stranger", "07")
    t.true(await stranger.tell("GET /t/fan/state", /GET \/t\/fan\/state: failed/), stranger.out())
    t.regex(await metrics(), /protocol="coap-tcp",reason="oscore-unknown"} 1/)
  })
}

/** Asks by the message of appendix C.4 in a WebSocket; the answer. */
const askRfc = async (): Promise<Buffer> => {
  const socket = new WebSocket(`ws://127.0.0.1:${gateway.port}/.well-known/coap`, "coap")
  const come: Buffer[] = []
  socket.on("message", (data: Buffer) => come.push(data))
  await once(socket, "open")
  for (const message of ["00e1", "040200003974396c6f63616c686f7374620914ff612f1092f1776f1c1668b3825e"])
    socket.send(Buffer.from(message, "hex"))
  while (come.length < 2) await once(socket, "message")
  socket.close()
  return come[1] as Buffer
}

test("over WebSocket, and what comes again is no request on any connection", async (t) => {
  const first = await askRfc()
  t.is(first.subarray(0, 7).toString("hex"), "04440000397490", "2.04 with its token and an empty OSCORE option")
  t.false(first.includes("Hello World!"))
  for (let times = 0; times < 3; times += 1) {
    const again = await askRfc()
    t.is(again[1], 0x81, "4.01")
    t.true(again.includes("Replay detected"))
  }
})

if (hasAiocoap()) {
  test("a gateway that was killed asks once whether the device is there now", async (t) => {
    gateway.process.kill("SIGKILL")
    await once(gateway.process, "exit")
    gateway = await runGateway(config)
    const lamp = await device("lamp", "01")
    t.true(await lamp.tell("GET /t/lamp/state", /state: 2\.05 Content 3 off/), lamp.out())
    t.true(await lamp.tell("PUT /t/lamp/state on", /state on: 2\.04/), lamp.out())
    t.regex(await metrics(), /protocol="coap-tcp",reason="oscore-unsynchronized"} 1/)
    // What was answered before is old, though no number of the gateway's was used for it.
    t.regex((await askRfc()).toString("hex"), /^044400003974930[12]/, "an Echo under a number of its own")
  })
}
