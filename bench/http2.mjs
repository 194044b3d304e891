// F3: CPU time of a request that came by HTTP/2, in the clear and in TLS, and by HTTP/1.1
// in TLS, on its way to an HTTP/1.1 origin, beside nginx and HAProxy; and of one by HTTP/2 on
// both sides, as gRPC is, beside HAProxy.
import { h2load, missingH2load } from "./lib/h2load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { fail, opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { startOrigin } from "./peers/origin.mjs"
import { H2C_BOTH_PEERS, H2C_PEERS, TLS_PEERS } from "./peers/tls.mjs"

const few = { connections: 16, streams: 10, path: "small" }
const SHAPES = [
  {
    name: "h2c",
    title: "HTTP/2 in the clear, 16 connections of 10 streams, 100 B",
    peers: H2C_PEERS,
    scheme: "http",
    ...few,
  },
  {
    name: "h2",
    title: "HTTP/2 in TLS, 16 connections of 10 streams, 100 B",
    peers: TLS_PEERS,
    scheme: "https",
    ...few,
  },
  {
    name: "h2-16K",
    title: "HTTP/2 in TLS, 16 connections of 10 streams, 16 KiB",
    peers: TLS_PEERS,
    scheme: "https",
    ...few,
    path: "large",
  },
  {
    name: "h2c-h2c",
    title: "HTTP/2 in the clear to HTTP/2, 16 connections of 10 streams, 100 B",
    peers: H2C_BOTH_PEERS,
    scheme: "http",
    origin: "http2",
    ...few,
  },
  {
    name: "h2c-h2c-16K",
    title: "HTTP/2 in the clear to HTTP/2, 16 connections of 10 streams, 16 KiB",
    peers: H2C_BOTH_PEERS,
    scheme: "http",
    origin: "http2",
    ...few,
    path: "large",
  },
  {
    name: "tls-h1",
    title: "HTTP/1.1 in TLS, 64 connections, 100 B",
    peers: TLS_PEERS,
    scheme: "https",
    connections: 64,
    h1: true,
    path: "small",
  },
]

const asked = options()
if (missingH2load() !== undefined) throw new Error(`h2load is the load of this script: ${missingH2load()}`)
const results = {}
for (const shape of chosen(SHAPES, asked.shapes)) results[shape.name] = await compare(shape)
save("http2", { asked, results })

async function compare(shape) {
  const peers = present(chosen(shape.peers, asked.only))
  opening(`\n${shape.title}`, peers, asked)
  const origin = await startOrigin(shape.origin)
  const running = new Map()
  for (const peer of peers) running.set(peer.name, await peer.start(origin.port))
  const rounds = await interleave(peers, asked.rounds, (peer) => measure(running.get(peer.name), shape))
  for (const { child } of [...running.values(), origin]) await stop(child)
  const rows = peers.map((peer) => summary(peer, rounds.get(peer.name)))
  const own = rows.find(({ name }) => name === "tidegate")
  const head = ["", "CPU us a request", "tidegate / it", "requests/s", "errors"]
  const cells = rows.map((row) => [
    row.name,
    ranged(row.cpuUs),
    row === own ? "" : ratio(own?.cpuUs.median, row.cpuUs.median),
    row.rate.median.toFixed(0),
    row.errors,
  ])
  say(table(head, cells))
  if (own !== undefined && own.errors > 0) fail(`tidegate answered with errors in ${shape.name}`)
  return rows
}

async function measure({ pid, port }, shape) {
  const before = cpuMs(pid)
  const result = await h2load({ port, ...shape, seconds: asked.seconds })
  return { ...result, cpuUs: ((cpuMs(pid) - before) * 1_000) / result.requests }
}

function summary(peer, rounds) {
  const of = (pick) => spread(rounds.map(pick))
  return {
    name: peer.name,
    version: peer.version(),
    cpuUs: of((round) => round.cpuUs),
    rate: of((round) => round.requests / round.seconds),
    errors: rounds.reduce((sum, round) => sum + round.errors, 0),
  }
}
