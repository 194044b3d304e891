// F9: CPU time of an MQTT connection that is opened, accepted and left again, beside mosquitto and aedes.
// Refusals are measured by refusals.mjs.
import { gated } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { MQTT_PEERS } from "./peers/mqtt.mjs"

const asked = options()
const COUNT = asked.quick ? 1_000 : 10_000
const peers = present(chosen(MQTT_PEERS, asked.only))
opening(`MQTT 3.1.1, ${COUNT} connections, 64 at a time: CONNECT, CONNACK, DISCONNECT`, peers, asked)

const running = new Map()
for (const peer of peers) running.set(peer.name, await peer.start())
const rounds = await interleave(peers, asked.rounds, (peer) => measure(running.get(peer.name)))
const rows = peers.map(({ name }) => {
  const of = (pick) => spread(rounds.get(name).map(pick))
  return { name, cpuUs: of((round) => round.cpuUs), rate: of((round) => round.accepted / round.seconds) }
})
const own = rows.find(({ name }) => name === "tidegate")?.cpuUs.median
const cells = rows.map((row) => [
  row.name,
  ranged(row.cpuUs, 1),
  row.name === "tidegate" || own === undefined ? "" : ratio(own, row.cpuUs.median),
  row.rate.median.toFixed(0),
])
say(table(["", "CPU us a connection", "tidegate / it", "connections/s"], cells))
save("mqtt-connects", { peers: peers.map((peer) => ({ name: peer.name, version: peer.version() })), asked, rows })
for (const { child } of running.values()) await stop(child)

async function measure({ pid, port }) {
  const run = await gated(["connect-storm", "--port", String(port), "--connections", String(COUNT), "--gate"])
  const before = cpuMs(pid)
  const result = await run.go()
  if (result.refused > 0) throw new Error(`${result.refused} connections were refused`)
  return { ...result, cpuUs: ((cpuMs(pid) - before) * 1_000) / result.accepted }
}
