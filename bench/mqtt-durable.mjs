// F6: what it costs to keep QoS 1 for sessions that outlive their connections: the gateway in memory, with
// `durability: process` and `power`, and mosquitto with and without its database. What each loses at kill -9 is
// another question: test/durability/kill.mjs asks it of the gateway.
import { gated } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { opening, present, ranged, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { mosquitto, mosquittoKept } from "./peers/mqtt.mjs"
import { tidegateDurable, tidegateMqtt } from "./peers/tidegate.mjs"

const PEERS = [tidegateMqtt, tidegateDurable("process"), tidegateDurable("power"), mosquitto, mosquittoKept]
// 80 messages in flight.
const SHAPE = [
  "mqtt-throughput",
  "--shape",
  "pairs",
  "--pubs",
  "10",
  "--subs",
  "10",
  "--window",
  "8",
  "--qos",
  "1",
  "--kept",
]

const asked = options()
const peers = present(chosen(PEERS, asked.only))
opening("MQTT 3.1.1, QoS 1, kept sessions, 10 to 10 in pairs, window 8, 64 B", peers, asked)

const running = new Map()
for (const peer of peers) running.set(peer.name, await peer.start())
const rounds = await interleave(peers, asked.rounds, (peer) => measure(running.get(peer.name)))
const rows = peers.map(({ name }) => {
  const of = (pick) => spread(rounds.get(name).map(pick))
  const rate = of((round) => round.delivered / Math.max(round.seconds, 0.001))
  return { name, cpuUs: of((round) => round.cpuUs), rate, p99Us: of((round) => round.p99Us) }
})
const plain = rows.find(({ name }) => name === "tidegate")?.cpuUs.median
const cells = rows.map((row) => [
  row.name,
  ranged(row.cpuUs, 2),
  plain !== undefined && row.name.startsWith("tidegate ") ? (row.cpuUs.median - plain).toFixed(2) : "",
  row.rate.median.toFixed(0),
  row.p99Us.median.toFixed(0),
])
say(table(["", "CPU us a delivery", "added us", "deliveries/s", "p99 us"], cells))
save("mqtt-durable", { peers: peers.map((peer) => ({ name: peer.name, version: peer.version() })), asked, rows })
for (const { child } of running.values()) await stop(child)

async function measure({ pid, port }) {
  const run = await gated([
    ...SHAPE,
    "--size",
    "64",
    "--port",
    String(port),
    "--seconds",
    String(asked.seconds),
    "--gate",
  ])
  const before = cpuMs(pid)
  const result = await run.go()
  return { ...result, cpuUs: ((cpuMs(pid) - before) * 1_000) / Math.max(1, result.delivered) }
}
