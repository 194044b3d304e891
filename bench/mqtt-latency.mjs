// F5: latency of a QoS 1 message at half of what the gateway can do, and at 2,000 messages a
// second, beside mosquitto at the same rate. See README.md for what the figures say.
import { gated } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { stop } from "./lib/process.mjs"
import { opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { MQTT_PEERS } from "./peers/mqtt.mjs"

const SHAPE = ["mqtt-throughput", "--shape", "pairs", "--pubs", "50", "--subs", "50", "--qos", "1", "--size", "64"]
const LOW = 2_000

const asked = options()
const peers = present(chosen(MQTT_PEERS, asked.only))
opening("MQTT 3.1.1 latency, 50 to 50 in pairs, QoS 1, 64 B", peers, asked)

const running = new Map()
for (const peer of peers) running.set(peer.name, await peer.start())
const own = running.get("tidegate")
const capacity = own === undefined ? null : (await load(own, ["--window", "16"])).rate
const rates = [LOW, ...(capacity === null ? [] : [Math.floor(capacity / 2)])]

const results = {}
for (const rate of rates) {
  const rounds = await interleave(peers, asked.rounds, (peer) =>
    load(running.get(peer.name), ["--window", "1024", "--rate", String(rate)]),
  )
  const rows = peers.map(({ name }) => {
    const of = (pick) => spread(rounds.get(name).map(pick))
    return {
      name,
      p50Us: of((round) => round.p50Us),
      p99Us: of((round) => round.p99Us),
      rate: of((round) => round.rate),
    }
  })
  const mine = rows.find(({ name }) => name === "tidegate")?.p99Us.median
  say(`\n${rate} messages a second${rate === LOW ? "" : ", half of what tidegate delivered with a window of 16"}`)
  const cells = rows.map((row) => [
    row.name,
    ranged(row.p50Us, 0),
    ranged(row.p99Us, 0),
    row.name === "tidegate" || mine === undefined ? "" : ratio(mine, row.p99Us.median),
    row.rate.median.toFixed(0),
  ])
  say(table(["", "p50 us", "p99 us", "tidegate / its p99", "deliveries/s"], cells))
  results[rate] = rows
}

save("mqtt-latency", {
  peers: peers.map((peer) => ({ name: peer.name, version: peer.version() })),
  asked,
  capacity,
  results,
})
for (const { child } of running.values()) await stop(child)

async function load({ port }, args) {
  const run = await gated([...SHAPE, ...args, "--port", String(port), "--seconds", String(asked.seconds), "--gate"])
  const result = await run.go()
  return { ...result, rate: result.delivered / Math.max(result.seconds, 0.001) }
}
