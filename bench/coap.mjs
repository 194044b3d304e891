// F7: CPU time of a confirmable GET over UDP, de-duplication on, with 16 and 512 clients
// that have one request in flight each; and what 10,000 observers of one resource cost: CPU
// time of a notification to one of them, memory of each.
import { setTimeout as sleep } from "node:timers/promises"
import { gated } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs, memoryKiB } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { fail, opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { COAP_PEERS, libcoap, libcoapNon } from "./peers/coap.mjs"
import { tidegateCoap } from "./peers/tidegate.mjs"

const SHAPES = [
  { name: "get16", clients: 16 },
  { name: "get512", clients: 512 },
  // libcoap loses observers of more: of 2,000 some never learn of a change.
  { name: "observe-few-con", most: 500, peers: [tidegateCoap, libcoap], args: [] },
  { name: "observe-few-non", most: 500, peers: [tidegateCoap, libcoapNon], args: ["--non"] },
  { name: "observe-con", most: Infinity, peers: [tidegateCoap], args: [] },
  { name: "observe-non", most: Infinity, peers: [tidegateCoap], args: ["--non"] },
]
/** Changes of a round, each of which reaches every observer. */
const WRITES = 10

const asked = options()
const all = [tidegateCoap, ...COAP_PEERS, libcoapNon]
chosen(all, asked.only)
const only = (peers) => present(peers.filter(({ name }) => asked.only?.includes(name) ?? true))
const results = {}
for (const shape of chosen(SHAPES, asked.shapes)) {
  results[shape.name] = await (shape.clients === undefined ? observe(shape) : compare(shape))
}
save("coap", { asked, results })

async function compare({ name, clients }) {
  const peers = only([tidegateCoap, ...COAP_PEERS])
  opening(`\n${name}: CON GET of a value of 4 bytes, ${clients} clients, one request in flight each`, peers, asked)
  const rounds = await interleave(peers, asked.rounds, (peer) => measure(peer, clients))
  const own = rounds.get("tidegate")
  const ownUs = own === undefined ? undefined : spread(own.map(({ us }) => us)).median
  const rows = peers.map((peer) => {
    const found = rounds.get(peer.name)
    const us = spread(found.map((one) => one.us))
    const perSecond = spread(found.map((one) => one.perSecond)).median
    const again = found.reduce((sum, one) => sum + one.again, 0)
    const [p50, p99] = ["p50", "p99"].map((quantile) => spread(found.map((one) => one[quantile])).median)
    return { name: peer.name, us, perSecond, p50, p99, again }
  })
  const head = ["", "CPU us a request", "tidegate / it", "requests a second", "p50 us", "p99 us", "sent again"]
  const cells = rows.map((row) => [
    row.name,
    ranged(row.us),
    row.name === "tidegate" ? "" : ratio(ownUs, row.us.median),
    Math.round(row.perSecond),
    row.p50,
    row.p99,
    row.again,
  ])
  say(table(head, cells))
  return rows
}

async function measure(peer, clients) {
  const { pid, port, child } = await peer.start()
  const load = async (seconds) => {
    const args = ["coap-get", "--gate", "--port", port, "--clients", clients, "--seconds", seconds]
    const { go } = await gated(args.map(String))
    const before = cpuMs(pid)
    const found = await go()
    return { ...found, spent: cpuMs(pid) - before }
  }
  // Who compiles as it runs has done so when it counts.
  await load(asked.seconds)
  const { answers, again, seconds, p50_us, p99_us, spent } = await load(asked.seconds)
  await stop(child)
  if (answers === 0) fail(`${peer.name} answered nothing`)
  return { us: (spent * 1_000) / answers, perSecond: answers / seconds, again, p50: p50_us, p99: p99_us }
}

async function observe({ name, most, peers: wanted, args }) {
  const peers = only(wanted)
  if (peers.length === 0) return []
  const count = Math.min(most, asked.quick ? 500 : asked.observers)
  opening(
    `\n${name}: ${count} observers of one value, ${WRITES} changes, each known to all before the next`,
    peers,
    asked,
  )
  const rounds = await interleave(peers, asked.rounds, (peer) => tell(peer, count, args))
  const own = rounds.get("tidegate")
  const ownUs = own === undefined ? undefined : spread(own.map(({ us }) => us)).median
  const rows = peers.map((peer) => {
    const found = rounds.get(peer.name)
    const [us, kib] = ["us", "kib"].map((field) => spread(found.map((one) => one[field])))
    const [ms, again] = ["ms", "again"].map((field) => spread(found.map((one) => one[field])).median)
    return { name: peer.name, us, kib, ms, again }
  })
  const head = ["", "CPU us a notification", "tidegate / it", "KiB an observer", "ms until all know", "came twice"]
  const cells = rows.map((row) => [
    row.name,
    ranged(row.us),
    row.name === "tidegate" ? "" : ratio(ownUs, row.us.median),
    ranged(row.kib),
    Math.round(row.ms),
    row.again,
  ])
  say(table(head, cells))
  return rows
}

async function tell(peer, count, args) {
  const { pid, port, child } = await peer.start()
  // What everyone has once is there before the observers come.
  const warm = await gated(["coap-get", "--gate", "--port", port, "--clients", 64, "--seconds", 1].map(String))
  await warm.go()
  await sleep(500)
  const before = memoryKiB(pid)
  const words = ["coap-observe", "--port", port, "--connections", count, "--writes", WRITES, ...args]
  const { go } = await gated(words.map(String))
  await sleep(500)
  const kib = (memoryKiB(pid) - before) / count
  const spentBefore = cpuMs(pid)
  const { told, again, p50_us } = await go()
  const spent = cpuMs(pid) - spentBefore
  await stop(child)
  return { us: (spent * 1_000) / told, kib, ms: p50_us / 1_000, again }
}
