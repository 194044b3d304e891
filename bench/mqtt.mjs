// F4a, F4b: CPU time of a delivered MQTT message, beside mosquitto, nats-server and aedes. See
// README.md for what the figures say and what they do not.
import { gated } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { fail, opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { MQTT_PEERS } from "./peers/mqtt.mjs"

const THROUGHPUT = [
  { name: "pairs", title: "10 to 10 in pairs, window 64", args: ["--pubs", 10, "--subs", 10, "--window", 64] },
  { name: "fanout", title: "1 to 100, window 64", args: ["--pubs", 1, "--subs", 100, "--window", 64] },
  { name: "fanin", title: "100 to 1, window 8", args: ["--pubs", 100, "--subs", 1, "--window", 8] },
  { name: "shared", title: "10 to a group of 10, window 64", args: ["--pubs", 10, "--subs", 10, "--window", 64] },
].map((shape) => ({ ...shape, args: ["mqtt-throughput", "--shape", shape.name, ...shape.args] }))

const DEVICE = { name: "device", title: "500 to 500 in pairs, one message in flight", args: ["mqtt-device"] }

const asked = options()
const SHAPES = [...THROUGHPUT, DEVICE].flatMap((shape) =>
  [0, 1].map((qos) => ({
    kind: shape.name,
    name: `${shape.name}-q${qos}`,
    title: `${shape.title}, QoS ${qos}, ${asked.size} B`,
    args: [...shape.args, "--qos", qos, "--size", asked.size],
  })),
)

const peers = present(chosen(MQTT_PEERS, asked.only))
opening("MQTT 3.1.1, in memory", peers, asked)

const running = new Map()
for (const peer of peers) running.set(peer.name, await peer.start())

const results = {}
for (const shape of chosen(SHAPES, asked.shapes)) results[shape.name] = await compare(shape)

save("mqtt", { peers: peers.map((peer) => ({ name: peer.name, version: peer.version() })), asked, results })
for (const { child } of running.values()) await stop(child)

async function compare(shape) {
  const able = peers.filter((peer) => !peer.without?.includes(shape.kind))
  const rounds = await interleave(able, asked.rounds, (peer) => measure(running.get(peer.name), shape))
  const rows = able.map(({ name }) => summary(name, rounds.get(name)))
  const own = rows.find(({ name }) => name === "tidegate")?.cpuUs.median
  say(`\n${shape.title}`)
  for (const { name } of peers.filter((peer) => !able.includes(peer))) say(`  ${name} cannot do this`)
  const head = ["", "CPU us a delivery", "tidegate / it", "deliveries/s", "p50 us", "p99 us", "lost"]
  const cells = rows.map((row) => [
    row.name,
    ranged(row.cpuUs, 2),
    row.name === "tidegate" ? "" : ratio(own, row.cpuUs.median),
    row.rate.median.toFixed(0),
    row.p50Us.median.toFixed(0),
    row.p99Us.median.toFixed(0),
    row.lost,
  ])
  say(table(head, cells))
  if (rows.some((row) => row.name === "tidegate" && row.lost > 0)) fail(`tidegate lost messages in ${shape.name}`)
  return rows
}

async function measure({ pid, port }, { args }) {
  const run = await gated([...args.map(String), "--port", String(port), "--seconds", String(asked.seconds), "--gate"])
  const before = cpuMs(pid)
  const result = await run.go()
  return { ...result, cpuUs: ((cpuMs(pid) - before) * 1_000) / Math.max(1, result.delivered) }
}

function summary(name, rounds) {
  const of = (pick) => spread(rounds.map(pick))
  return {
    name,
    cpuUs: of((round) => round.cpuUs),
    rate: of((round) => round.delivered / Math.max(round.seconds, 0.001)),
    p50Us: of((round) => round.p50Us),
    p99Us: of((round) => round.p99Us),
    lost: rounds.reduce((sum, round) => sum + round.lost, 0),
  }
}
