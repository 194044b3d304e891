// What it costs to give a new subscriber all retained messages: 100,000 topics of 64 B, QoS 0, one subscriber after the other.
import { once } from "node:events"
import { connect } from "node:net"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { fail, opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { MQTT_PEERS } from "./peers/mqtt.mjs"

const asked = options()
const TOPICS = asked.quick ? 5_000 : 100_000
const PATIENCE_MS = 60_000
const SUBACK_BYTES = 5
const peers = present(chosen(MQTT_PEERS, asked.only))
opening(`MQTT, a new subscriber to ${TOPICS} retained messages of ${asked.size} B`, peers, asked)

const running = new Map()
for (const peer of peers) {
  const one = await peer.start()
  running.set(peer.name, one)
  await retain(one.port)
}
const rounds = await interleave(peers, asked.rounds, ({ name }) => replay(running.get(name)))
for (const { child } of running.values()) await stop(child)

const rows = peers.map(({ name }) => {
  const of = (pick) => spread(rounds.get(name).map(pick))
  return { name, cpuUs: of(({ cpuUs }) => cpuUs), ms: of(({ ms }) => ms), missing: of(({ missing }) => missing).max }
})
const own = rows.find(({ name }) => name === "tidegate")
if (own?.missing > 0) fail(`tidegate left ${own.missing} bytes out`)
const cells = rows.map(({ name, cpuUs, ms, missing }) => {
  const compared = name === "tidegate" ? "" : ratio(own?.cpuUs.median, cpuUs.median)
  return [name, ranged(cpuUs, 2), compared, ranged(ms, 0), missing]
})
say(table(["", "CPU us a message", "tidegate / it", "ms until all are there", "bytes missing"], cells))
save("mqtt-retained", { peers: peers.map((peer) => ({ name: peer.name, version: peer.version() })), asked, rows })

/** All topics; the last one at QoS 1, so that its acknowledgement tells that they are there. */
async function retain(port) {
  const socket = await client(port, "publisher")
  for (let topic = 0; topic < TOPICS - 1; topic++) {
    if (!socket.write(publish(topic, 0))) await once(socket, "drain")
  }
  socket.write(publish(TOPICS - 1, 1))
  await once(socket, "data")
  socket.destroy()
}

/** One subscriber, until it has everything or nothing comes any more. */
async function replay({ port, pid }) {
  const socket = await client(port, `subscriber-${process.hrtime.bigint()}`)
  const due = TOPICS * publish(0, 0).length + SUBACK_BYTES
  const before = cpuMs(pid)
  const started = performance.now()
  let received = 0
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, PATIENCE_MS)
    socket.on("data", ({ length }) => {
      received += length
      if (received < due) return
      clearTimeout(timer)
      resolve()
    })
    // SUBSCRIBE to r/# at QoS 0.
    socket.write(Buffer.from([0x82, 8, 0, 1, 0, 3, 0x72, 0x2f, 0x23, 0]))
  })
  const ms = performance.now() - started
  const cpuUs = ((cpuMs(pid) - before) * 1_000) / TOPICS
  socket.destroy()
  return { cpuUs, ms, missing: Math.max(0, due - received) }
}

async function client(port, name) {
  const socket = connect(port, "127.0.0.1").setNoDelay(true)
  await once(socket, "connect")
  socket.write(packet(0x10, [0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, name.length, ...Buffer.from(name)]))
  await once(socket, "data")
  return socket
}

/** A retained message of its topic. */
function publish(topic, qos) {
  const name = `r/${String(topic).padStart(6, "0")}`
  const head = [0, name.length, ...Buffer.from(name), ...(qos > 0 ? [0, 1] : [])]
  return packet(0x31 + 2 * qos, [...head, ...Buffer.alloc(asked.size, "x")])
}

function packet(first, body) {
  const length = body.length < 128 ? [body.length] : [(body.length % 128) | 128, body.length >> 7]
  return Buffer.from([first, ...length, ...body])
}
