// F7: CPU time of a confirmable GET over UDP, de-duplication on, with 16 and 512 clients
// that have one request in flight each.
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { CORE, start, stop } from "./lib/process.mjs"
import { fail, opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { libcoap } from "./peers/coap.mjs"
import { tidegateCoap } from "./peers/tidegate.mjs"

const SHAPES = [
  { name: "get16", clients: 16 },
  { name: "get512", clients: 512 },
]

const asked = options()
const peers = present(chosen([tidegateCoap, libcoap], asked.only))
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
    return { name: peer.name, us, perSecond, again }
  })
  const head = ["", "CPU us a request", "tidegate / it", "requests a second", "sent again"]
  const cells = rows.map((row) => [
    row.name,
    ranged(row.us),
    row.name === "tidegate" ? "" : ratio(ownUs, row.us.median),
    Math.round(row.perSecond),
    row.again,
  ])
  say(table(head, cells))
  return rows
}

async function measure(peer, clients) {
  const { pid, port, child } = await peer.start()
  const load = start(
    CORE.load,
    process.execPath,
    [new URL("./load/coap.mjs", import.meta.url).pathname, ...[port, clients, asked.seconds].map(String)],
    { stdout: "pipe" },
  )
  let text = ""
  let before = 0
  load.stdout.on("data", (bytes) => {
    if (text === "") before = cpuMs(pid)
    text += bytes
  })
  await new Promise((resolve) => load.once("close", resolve))
  const spent = cpuMs(pid) - before
  await stop(child)
  const found = /\{.*\}/.exec(text)
  if (found === null) throw new Error(load.complaint())
  const { answers, again } = JSON.parse(found[0])
  if (answers === 0) fail(`${peer.name} answered nothing`)
  return { us: (spent * 1_000) / answers, perSecond: answers / asked.seconds, again }
}
