// I/O system calls of the worker thread per proxied request and per MQTT delivery: an
// exact count that a busy machine does not disturb. strace makes everything slower, so
// that the rates under it mean nothing.
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { gated, missingWrk, wrk } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { threads } from "./lib/proc.mjs"
import { CORE, find, scratch, start, stop } from "./lib/process.mjs"
import { fail, opening, present, save, say, table } from "./lib/report.mjs"
import { haproxy, nginx } from "./peers/http.mjs"
import { mosquitto } from "./peers/mqtt.mjs"
import { startOrigin } from "./peers/origin.mjs"
import { tidegateHttp, tidegateMqtt } from "./peers/tidegate.mjs"

const SENDS = ["write", "writev", "sendto", "sendmsg", "sendmmsg"]
const RECEIVES = ["read", "readv", "recvfrom", "recvmsg", "recvmmsg"]
const WAITS = ["epoll_wait", "epoll_pwait", "epoll_pwait2"]

const http =
  (...args) =>
  async ({ port }) => {
    const { requests } = await wrk({ port, connections: 64, seconds: asked.seconds, script: "routes", args })
    return requests
  }

const mqtt = async (run) => {
  const { delivered } = await run.load.go()
  return delivered
}

const device = (qos) => ["mqtt-device", "--pairs", "100", "--qos", String(qos), "--size", "64", "--gate"]

/** At most so many of each, F1 and F4b. */
const GOALS = {
  http: { sends: 2.1, receives: 2.1 },
  "mqtt-q0": { sends: 1.1, receives: 1.1, controls: 0.1 },
  "mqtt-q1": { sends: 2.1, receives: 2.1, controls: 0.1 },
}

const CASES = [
  {
    name: "http",
    title: "a proxied request, 64 connections, 100 B",
    peers: [tidegateHttp, nginx, haproxy],
    underWay: 64,
    run: http("small"),
  },
  {
    name: "new",
    title: "a proxied request on a connection of its own, 100 B",
    peers: [tidegateHttp, nginx, haproxy],
    run: http("small", "0", "close"),
  },
  ...[0, 1].map((qos) => ({
    name: `mqtt-q${qos}`,
    title: `a QoS ${qos} delivery, 100 pairs, one message in flight`,
    peers: [tidegateMqtt, mosquitto],
    underWay: 100,
    args: device(qos),
    run: mqtt,
  })),
]

const asked = options()
if (find("strace") === undefined) throw new Error("strace counts here: apt-get install strace")
if (missingWrk() !== undefined) throw new Error(`wrk is the load of this script: ${missingWrk()}`)
const origin = await startOrigin()
const results = {}
for (const one of chosen(CASES, asked.shapes)) results[one.name] = await compare(one)
save("syscalls", { asked, results })
await stop(origin.child)

async function compare(one) {
  const wanted = asked.only?.filter((name) => one.peers.some((peer) => peer.name === name))
  const peers = present(chosen(one.peers, wanted))
  opening(`\nSystem calls for ${one.title}`, peers, asked)
  const rows = []
  for (const peer of peers) rows.push({ name: peer.name, ...(await count(peer, one)) })
  const own = rows.find(({ name }) => name === tidegateHttp.name)
  if (asked.check && own !== undefined) judge(one, own)
  const head = ["", "sends", "receives", "epoll_wait", "epoll_ctl", "others", "counted over"]
  const cells = rows.map(({ name, per, amount }) => {
    const shown = [per.sends, per.receives, per.waits, per.controls, per.others].map((value) => value.toFixed(2))
    return [name, ...shown, String(amount)]
  })
  say(table(head, cells))
  for (const { name, others } of rows) say(`  others of ${name}: ${others}`)
  return rows
}

/** What was under way when the load ended, one on each connection, has calls but is in no amount: it counts as done. */
function judge({ name, underWay }, { amount, calls }) {
  const per = perOne(calls, amount + underWay)
  const over = Object.entries(GOALS[name] ?? {}).filter(([kind, most]) => per[kind] > most)
  for (const [kind, most] of over) fail(`${per[kind].toFixed(2)} ${kind} of ${name}, ${most} is the goal`)
}

async function count(peer, one) {
  const running = await peer.start(origin.port)
  const args = [...(one.args ?? []), "--port", String(running.port), "--seconds", String(asked.seconds)]
  const load = one.args === undefined ? undefined : await gated(args)
  const file = join(scratch(), "calls")
  const targets = workers(running.pid).flatMap((tid) => ["-p", String(tid)])
  const tracer = start(CORE.load, "strace", ["-c", "-o", file, ...targets])
  await sleep(500)
  if (tracer.exitCode !== null) throw new Error(`strace counts nothing here: ${tracer.complaint()}`)
  const amount = await one.run({ ...running, load })
  tracer.kill("SIGINT")
  await once(tracer, "close")
  await stop(running.child)
  const all = calls(readFileSync(file, "utf8"))
  return { amount, per: perOne(all, amount), others: named(others(all), amount), calls: all }
}

/** The threads that move bytes: ours by name, of a peer the last process it started. */
function workers(pid) {
  const all = threads(pid)
  const own = all.filter(({ name }) => /^tidegate-\d+$/.test(name))
  return own.length > 0 ? own.map(({ tid }) => tid) : [Math.max(...all.map(({ tid }) => tid))]
}

/** Lines of `strace -c`: share, seconds, usecs/call, calls, [errors], name. */
function calls(text) {
  const rows = text.matchAll(/^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$/gm)
  const found = [...rows].map(([, number, name]) => [name, Number(number)])
  return Object.fromEntries(found.filter(([name]) => name !== "total"))
}

function others(all) {
  const counted = new Set([...SENDS, ...RECEIVES, ...WAITS, "epoll_ctl"])
  return Object.entries(all).filter(([name]) => !counted.has(name))
}

/** Those of which there is one in a hundred or more. */
function named(calls, amount) {
  const often = calls.filter(([, number]) => number >= amount / 100)
  return often.map(([name, number]) => `${name} ${(number / amount).toFixed(2)}`).join(", ") || "none"
}

function perOne(all, amount) {
  const sum = (names) => names.reduce((total, name) => total + (all[name] ?? 0), 0) / amount
  return {
    sends: sum(SENDS),
    receives: sum(RECEIVES),
    waits: sum(WAITS),
    controls: sum(["epoll_ctl"]),
    others: sum(others(all).map(([name]) => name)),
  }
}
