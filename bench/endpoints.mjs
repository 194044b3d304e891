// What the number of endpoints of an upstream costs: CPU time of a proxied request with 10, 1,000 and
// 10,000 of them, all at addresses of their own and all in use, and a configuration that replaces one of them.
import { request } from "node:http"
import { fileURLToPath } from "node:url"
import { missingWrk, wrk } from "./lib/load.mjs"
import { options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { CORE, freePort, listening, start, stop } from "./lib/process.mjs"
import { fail, opening, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { tidegateFront } from "./peers/tidegate.mjs"

const asked = options()
if (missingWrk() !== undefined) throw new Error(`wrk is the load of this script: ${missingWrk()}`)
const PORT = await freePort()
const ORIGINS = 2
const COUNTS = asked.quick ? [10, 1_000] : [10, 1_000, 10_000]
const MOST = COUNTS.at(-1)

const origins = await Promise.all(Array.from({ length: ORIGINS }, (_, index) => startOrigin(index)))
const peers = COUNTS.map((count) => ({ ...tidegateFront(), name: String(count), count }))
opening("Endpoints of one upstream in turn, 64 connections, kept alive, answers of 100 B", [tidegateFront()], asked)
for (const peer of peers) await begin(peer)

const rounds = await interleave(peers, asked.rounds, measure)
const rows = peers.map(({ name, count }) => {
  const own = rounds.get(name)
  const of = (pick) => spread(own.map(pick))
  return {
    endpoints: count,
    cpuUs: of((round) => round.cpuUs),
    rate: of((round) => round.requests / round.seconds),
    p99Us: of((round) => round.p99Us),
    applyMs: of((round) => round.applyMs),
    applyCpuMs: of((round) => round.applyCpuMs),
    errors: own.reduce((sum, round) => sum + round.badStatus + round.socketErrors, 0),
  }
})
const head = [
  "endpoints",
  "CPU us a request",
  "of 10",
  "requests/s",
  "p99 us",
  "errors",
  "KiB each",
  "apply ms",
  "its CPU ms",
]
say(
  table(
    head,
    rows.map((row) => [
      String(row.endpoints),
      ranged(row.cpuUs),
      ratio(row.cpuUs.median, rows[0].cpuUs.median),
      row.rate.median.toFixed(0),
      row.p99Us.median.toFixed(0),
      row.errors,
      ranged(row.applyMs, 0),
      ranged(row.applyCpuMs, 0),
    ]),
  ),
)
if (rows.some(({ errors }) => errors > 0)) fail("tidegate answered with errors")
save("endpoints", { asked, results: rows })
for (const child of [...peers.map(({ running }) => running.child), ...origins]) await stop(child)

async function startOrigin(index) {
  const [ready, share] = [await freePort(), MOST / ORIGINS]
  const program = fileURLToPath(new URL("./peers/serve/many-origin.mjs", import.meta.url))
  const words = [program, PORT, index * share, share, ready]
  const child = start(CORE.load, process.execPath, words.map(String))
  await listening(ready, child)
  return child
}

/** What the gateway of `count` endpoints runs; every second turn leaves out the last of them. */
function config({ count, admin, turn }) {
  const endpoints = Array.from({ length: count }, (_, index) => `127.1.${index >> 8}.${index & 255}:${PORT}`)
  if (turn % 2 === 1) endpoints.pop()
  return {
    workers: 1,
    admin: { address: `127.0.0.1:${admin}` },
    dataDir: false,
    limits: { maxConnectionsPerSource: 1_000 },
    // One connection to each may stay open, which the default of 1,024 would not let.
    upstreams: { origin: { endpoints, connectTimeoutMs: 2_000, maxConnections: 20_000 } },
    routes: Array.from({ length: 64 }, (_, index) => ({ when: { path: `/r${index}/**` }, to: "origin" })),
    log: { level: "info", sampleEvery: 100 },
  }
}

async function begin(peer) {
  Object.assign(peer, { admin: await freePort(), turn: 0 })
  peer.running = await tidegateFront(config(peer)).start(PORT)
  await listening(peer.admin, peer.running.child)
}

async function measure(peer) {
  const { pid, port } = peer.running
  const before = cpuMs(pid)
  const result = await wrk({ port, connections: 64, seconds: asked.seconds, script: "routes", args: ["small"] })
  const cpuUs = ((cpuMs(pid) - before) * 1_000) / result.requests
  const [began, cpuBefore] = [performance.now(), cpuMs(pid)]
  peer.turn++
  await put(peer.admin, { ...config(peer), listeners: [{ address: `tcp://127.0.0.1:${port}` }] })
  return { ...result, cpuUs, applyMs: performance.now() - began, applyCpuMs: cpuMs(pid) - cpuBefore }
}

function put(port, body) {
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json" }
    const sent = request({ port, method: "PUT", path: "/v1/config", headers, agent: false }, async (answer) => {
      const text = (await answer.toArray()).join("")
      if (answer.statusCode === 200) resolve()
      else reject(new Error(`PUT /v1/config: ${answer.statusCode} ${text.slice(0, 1_000)}`))
    })
    sent.once("error", reject)
    sent.end(JSON.stringify(body))
  })
}
