// What a publish to 10,000 subscribers costs everybody else: PINGREQ to PINGRESP of a bystander, one after the other, while
// it is delivered, beside the same while nothing is. TIDEGATE_ROOT names another clone to compare with.
import { once } from "node:events"
import { connect } from "node:net"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { CORE, start, stop } from "./lib/process.mjs"
import { opening, present, ranged, save, say, table } from "./lib/report.mjs"
import { spread } from "./lib/rounds.mjs"
import { MQTT_PEERS } from "./peers/mqtt.mjs"

const asked = options()
const SUBSCRIBERS = asked.quick ? 2_000 : 10_000
const PUBLISHES = asked.quick ? 5 : 40
const PAYLOAD = 64
const PACKET = 2 + 2 + 3 + PAYLOAD
const peers = present(chosen(MQTT_PEERS, asked.only ?? ["tidegate", "mosquitto"]))
opening(
  `MQTT, one publish of ${PAYLOAD} B to ${SUBSCRIBERS} subscribers; the longest PINGREQ to PINGRESP`,
  peers,
  asked,
)

const rows = []
for (const peer of peers) {
  const { port, pid, child } = await peer.start()
  const script = fileURLToPath(new URL("./lib/audience.mjs", import.meta.url))
  const words = [script, String(port), String(SUBSCRIBERS), String(PACKET)]
  const audience = start(CORE.load, process.execPath, words, { stdin: "pipe", stdout: "pipe" })
  const lines = createInterface({ input: audience.stdout })[Symbol.asyncIterator]()
  if ((await lines.next()).done) throw new Error(audience.complaint())
  const [publisher, bystander] = [await client(port), await client(port)]
  const longest = { busy: [], idle: [] }
  let cpu = 0
  for (let round = 0; round < PUBLISHES; round++) {
    longest.idle.push(await pings(bystander, new Promise((resolve) => setTimeout(resolve, 100))))
    const before = cpuMs(pid)
    const all = lines.next()
    publisher.write(
      Buffer.concat([Buffer.from([0x30, PACKET - 2, 0, 3, 0x61, 0x6c, 0x6c]), Buffer.alloc(PAYLOAD, "x")]),
    )
    longest.busy.push(await pings(bystander, all))
    cpu += cpuMs(pid) - before
  }
  const of = (values) => spread(values)
  rows.push({ name: peer.name, busy: of(longest.busy), idle: of(longest.idle), cpuUs: (cpu * 1_000) / PUBLISHES })
  audience.stdin.end()
  for (const socket of [publisher, bystander]) socket.destroy()
  await stop(audience)
  await stop(child)
}
const cells = rows.map((row) => [row.name, ranged(row.busy, 2), ranged(row.idle, 2), row.cpuUs.toFixed(0)])
say(table(["", "longest while delivering, ms", "longest while idle, ms", "CPU us a publish"], cells))
save("mqtt-fan-out", { peers: peers.map((peer) => ({ name: peer.name, version: peer.version() })), asked, rows })

async function client(port) {
  const socket = connect(port, "127.0.0.1").setNoDelay(true)
  await once(socket, "connect")
  socket.write(Buffer.from([0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0]))
  await once(socket, "data")
  return socket
}

/** Pings until `end` is there; the longest, in milliseconds. */
async function pings(socket, end) {
  let [longest, ended] = [0, false]
  end.then(() => {
    ended = true
  })
  while (!ended) {
    const started = performance.now()
    socket.write(Buffer.from([0xc0, 0]))
    await once(socket, "data")
    longest = Math.max(longest, performance.now() - started)
  }
  return longest
}
