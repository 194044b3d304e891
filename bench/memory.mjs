// F8: what an idle connection costs in resident memory, beside the peers. A peer is
// started anew for each kind; a quarter of the connections comes first and is not
// counted, so that buffers and tables that everyone has once are there already.
import { setTimeout as sleep } from "node:timers/promises"
import { gated, gatedScript } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { memoryKiB } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { opening, present, ratio, save, say, table } from "./lib/report.mjs"
import { spread } from "./lib/rounds.mjs"
import { haproxy, nginx, undici } from "./peers/http.mjs"
import { MQTT_PEERS } from "./peers/mqtt.mjs"
import { startOrigin, startSocketOrigin } from "./peers/origin.mjs"
import { tidegateHttp } from "./peers/tidegate.mjs"
import { TLS_PEERS } from "./peers/tls.mjs"

const KINDS = [
  { name: "mqtt", title: "MQTT, connected", peers: MQTT_PEERS, args: ["mqtt-idle"] },
  { name: "mqtt-sub", title: "MQTT, one subscription each", peers: MQTT_PEERS, args: ["mqtt-idle", "--subscribe"] },
  {
    name: "http",
    title: "HTTP/1.1, kept alive after one proxied request",
    peers: [tidegateHttp, nginx, haproxy, undici],
    args: ["http-idle", "--path", "/r5/small"],
  },
  { name: "tls", title: "HTTP/1.1 in TLS, kept alive after one proxied request", peers: TLS_PEERS, held: "tls" },
  {
    name: "websocket",
    title: "WebSocket, proxied, nothing said",
    peers: [tidegateHttp, nginx, haproxy],
    held: "websocket",
    origin: startSocketOrigin,
  },
]

const asked = options()
/** Memory settles: what was freed goes back, what was accepted is read. */
const SETTLE_MS = asked.quick ? 300 : 1_500
const ROUNDS = asked.quick ? 1 : 3
const results = {}
for (const kind of chosen(KINDS, asked.shapes)) results[kind.name] = await compare(kind)
save("memory", { asked, results })

async function compare(kind) {
  const names = kind.peers.map(({ name }) => name)
  const wanted = asked.only?.filter((name) => names.includes(name))
  const peers = present(chosen(kind.peers, wanted))
  opening(`\n${kind.title}: ${asked.connections} connections`, peers, asked)
  const origin = await (kind.origin ?? startOrigin)()
  const rows = []
  for (const peer of peers) rows.push(await measure(peer, kind, origin.port))
  await stop(origin.child)
  const own = rows.find(({ name }) => name === "tidegate")?.kib.median
  const head = ["", "KiB a connection", "min", "max", "tidegate / it", "whole process MiB"]
  const cells = rows.map(({ name, kib, wholeMiB }) => [
    name,
    ...[kib.median, kib.min, kib.max].map((value) => value.toFixed(2)),
    name === "tidegate" ? "" : ratio(own, kib.median),
    wholeMiB.toFixed(1),
  ])
  say(table(head, cells))
  return rows
}

async function measure(peer, kind, origin) {
  const rounds = []
  for (let round = 0; round < ROUNDS; round++) {
    const { pid, port, child } = await peer.start(origin)
    rounds.push(await growth(pid, port, kind))
    await stop(child)
  }
  const wholeMiB = spread(rounds.map(({ wholeMiB }) => wholeMiB)).median
  return { name: peer.name, version: peer.version(), kib: spread(rounds.map(({ kib }) => kib)), wholeMiB }
}

async function growth(pid, port, kind) {
  const held = (count) =>
    kind.held === undefined
      ? gated([...kind.args, "--port", String(port), "--connections", String(count)])
      : gatedScript("hold", [kind.held, String(port), String(count)])
  const first = await held(Math.ceil(asked.connections / 4))
  await sleep(SETTLE_MS)
  const before = memoryKiB(pid)
  const counted = await held(asked.connections)
  await sleep(SETTLE_MS)
  const after = memoryKiB(pid)
  await counted.go()
  await first.go()
  return { kib: (after - before) / asked.connections, wholeMiB: after / 1_024 }
}
