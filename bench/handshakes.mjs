// TLS handshakes: CPU time of a whole one and of a resumed one, TLS 1.3 and 1.2, beside
// nginx and HAProxy with the same certificate. `openssl s_time` is the client.
import { once } from "node:events"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { CORE, start, stop } from "./lib/process.mjs"
import { opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { startOrigin } from "./peers/origin.mjs"
import { TLS_PEERS } from "./peers/tls.mjs"

const SHAPES = [
  { name: "full-1.3", title: "whole handshakes, TLS 1.3, ECDSA P-256", args: ["-new", "-tls1_3"] },
  { name: "full-1.2", title: "whole handshakes, TLS 1.2, ECDSA P-256", args: ["-new", "-tls1_2"] },
  { name: "resumed-1.2", title: "resumed by ticket, TLS 1.2", args: ["-reuse", "-tls1_2"] },
]

const asked = options()
const peers = present(chosen(TLS_PEERS, asked.only))
opening("TLS handshakes, one client after the other", peers, asked)
const origin = await startOrigin()
const running = new Map()
for (const peer of peers) running.set(peer.name, await peer.start(origin.port))
const results = {}
for (const shape of chosen(SHAPES, asked.shapes)) results[shape.name] = await compare(shape)
save("handshakes", { peers: peers.map((peer) => ({ name: peer.name, version: peer.version() })), asked, results })
for (const { child } of [...running.values(), origin]) await stop(child)

async function compare(shape) {
  const rounds = await interleave(peers, asked.rounds, (peer) => measure(running.get(peer.name), shape))
  const rows = peers.map(({ name }) => ({
    name,
    cpuUs: spread(rounds.get(name).map(({ cpuUs }) => cpuUs)),
    count: spread(rounds.get(name).map(({ count }) => count)),
  }))
  const own = rows.find(({ name }) => name === "tidegate")?.cpuUs.median
  say(`\n${shape.title}`)
  const head = ["", "CPU us a handshake", "tidegate / it", "handshakes/s of one core", "counted"]
  const cells = rows.map(({ name, cpuUs, count }) => [
    name,
    ranged(cpuUs),
    name === "tidegate" ? "" : ratio(own, cpuUs.median),
    (1_000_000 / cpuUs.median).toFixed(0),
    count.median,
  ])
  say(table(head, cells))
  return rows
}

async function measure({ pid, port }, { args }) {
  const before = cpuMs(pid)
  const words = ["s_time", "-connect", `127.0.0.1:${port}`, "-time", String(asked.seconds), ...args]
  const child = start(CORE.load, "openssl", words, { stdout: "pipe" })
  let text = ""
  child.stdout.on("data", (bytes) => {
    text += bytes
  })
  await once(child, "close")
  // With -reuse one whole handshake comes first and is not counted.
  const count = Number([...text.matchAll(/^(\d+) connections in \d+ real seconds/gm)].at(-1)?.[1] ?? 0)
  if (count === 0) throw new Error(`${child.complaint()}\n${text}`)
  return { count, cpuUs: ((cpuMs(pid) - before) * 1_000) / count }
}
