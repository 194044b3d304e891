// F7: CPU time of a confirmable GET over UDP, de-duplication on, with 16 and 512 clients
// that have one request in flight each.

import { gated } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { fail, opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { COAP_PEERS } from "./peers/coap.mjs"
import { tidegateCoap } from "./peers/tidegate.mjs"

const SHAPES = [
  { name: "get16", clients: 16 },
  { name: "get512", clients: 512 },
]

const asked = options()
const peers = present(chosen([tidegateCoap, ...COAP_PEERS], asked.only))
const results = {}
for (const shape of chosen(SHAPES, asked.shapes)) results[shape.name] = await compare(shape)
save("coap", { asked, results })

async function compare({ name, clients }) {
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
