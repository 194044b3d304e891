// F1, F2: CPU time of a proxied HTTP/1.1 request, beside nginx, HAProxy and the gateways
// of Node. See README.md for what the figures say and what they do not.
import { missingWrk, wrk } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { fail, opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { HTTP_PEERS } from "./peers/http.mjs"
import { startOrigin } from "./peers/origin.mjs"

const SHAPES = [
  { name: "1x100B", title: "1 connection, kept alive, answers of 100 B", connections: 1, args: ["small"] },
  { name: "64x100B", title: "64 connections, kept alive, answers of 100 B", connections: 64, args: ["small"] },
  { name: "512x100B", title: "512 connections, kept alive, answers of 100 B", connections: 512, args: ["small"] },
  { name: "64x16K", title: "64 connections, kept alive, answers of 16 KiB", connections: 64, args: ["large"] },
  { name: "64x1M", title: "64 connections, kept alive, answers of 1 MiB", connections: 64, args: ["huge"] },
  { name: "post1K", title: "64 connections, kept alive, POST of 1 KiB", connections: 64, args: ["small", "1024"] },
  { name: "new", title: "64 at a time, a new connection each, 100 B", connections: 64, args: ["small", "0", "close"] },
]

const asked = options()
if (missingWrk() !== undefined) throw new Error(`wrk is the load of this script: ${missingWrk()}`)
const peers = present(chosen(HTTP_PEERS, asked.only))
opening("HTTP/1.1 proxying, 64 routes, X-Forwarded-*, timeouts, one request in a hundred logged", peers, asked)

const origin = await startOrigin()
const running = new Map()
for (const peer of peers) running.set(peer.name, await peer.start(origin.port))

const results = {}
for (const shape of chosen(SHAPES, asked.shapes)) results[shape.name] = await compare(shape)

save("http-proxy", { peers: peers.map((peer) => ({ name: peer.name, version: peer.version() })), asked, results })
for (const { child } of [...running.values(), origin]) await stop(child)

async function compare(shape) {
  const rounds = await interleave(peers, asked.rounds, (peer) => measure(running.get(peer.name), shape))
  const rows = peers.map(({ name }) => summary(name, rounds.get(name)))
  const own = rows.find(({ name }) => name === "tidegate")?.cpuUs.median
  say(`\n${shape.title}`)
  const head = ["", "CPU us a request", "tidegate / it", "requests/s", "p50 us", "p99 us", "errors"]
  const cells = rows.map((row) => [
    row.name,
    ranged(row.cpuUs),
    row.name === "tidegate" ? "" : ratio(own, row.cpuUs.median),
    row.rate.median.toFixed(0),
    row.p50Us.median.toFixed(0),
    row.p99Us.median.toFixed(0),
    row.errors,
  ])
  say(table(head, cells))
  if (rows.some((row) => row.name === "tidegate" && row.errors > 0))
    fail(`tidegate answered with errors in ${shape.name}`)
  return rows
}

async function measure({ pid, port }, { connections, args }) {
  const before = cpuMs(pid)
  const result = await wrk({ port, connections, seconds: asked.seconds, script: "routes", args })
  return { ...result, cpuUs: ((cpuMs(pid) - before) * 1_000) / result.requests }
}

function summary(name, rounds) {
  const of = (pick) => spread(rounds.map(pick))
  return {
    name,
    cpuUs: of((round) => round.cpuUs),
    rate: of((round) => round.requests / round.seconds),
    p50Us: of((round) => round.p50Us),
    p99Us: of((round) => round.p99Us),
    errors: rounds.reduce((sum, round) => sum + round.badStatus + round.socketErrors, 0),
  }
}
