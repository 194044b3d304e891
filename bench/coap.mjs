// F7: CPU time of a confirmable GET over UDP and DTLS, de-duplication on, with 16 and 512
// clients that have one request in flight each; what a DTLS session costs to make and to
// hold (F8); and what 10,000 observers of one resource cost: CPU time of a notification to
// one of them, memory of each.
import { setTimeout as sleep } from "node:timers/promises"
import { gated } from "./lib/load.mjs"
import { chosen, options } from "./lib/options.mjs"
import { cpuMs, memoryKiB } from "./lib/proc.mjs"
import { stop } from "./lib/process.mjs"
import { fail, opening, present, ranged, ratio, save, say, table } from "./lib/report.mjs"
import { interleave, spread } from "./lib/rounds.mjs"
import { COAP_PEERS, DTLS_PEERS, LIBCOAP_DTLS, libcoap, libcoapNon, PSK } from "./peers/coap.mjs"
import { tidegateCoap, tidegateCoapSingle, tidegateDtls, tidegateDtlsSingle } from "./peers/tidegate.mjs"

const PLAIN = { peers: [tidegateCoap, tidegateCoapSingle, ...COAP_PEERS], psk: [] }
const SECURE = {
  peers: [tidegateDtls, tidegateDtlsSingle, ...DTLS_PEERS],
  psk: ["--psk", `${PSK.identity}:${PSK.key}`],
}
const SHAPES = [
  { name: "get16", run: compare, clients: 16, ...PLAIN },
  { name: "get512", run: compare, clients: 512, ...PLAIN },
  { name: "dtls-get16", run: compare, clients: 16, ...SECURE },
  { name: "dtls-get512", run: compare, clients: 512, ...SECURE },
  { name: "dtls-sessions", run: hold, clients: 2_000, ...SECURE },
  // libcoap loses observers of more: of 2,000 some never learn of a change, over DTLS of 500.
  { name: "observe-few-con", run: observe, most: 500, peers: [tidegateCoap, tidegateCoapSingle, libcoap], args: [] },
  {
    name: "observe-few-non",
    run: observe,
    most: 500,
    peers: [tidegateCoap, tidegateCoapSingle, libcoapNon],
    args: ["--non"],
  },
  { name: "observe-con", run: observe, most: Infinity, peers: [tidegateCoap, tidegateCoapSingle], args: [] },
  { name: "observe-non", run: observe, most: Infinity, peers: [tidegateCoap, tidegateCoapSingle], args: ["--non"] },
  { name: "dtls-observe-few-con", run: observe, most: 200, peers: [tidegateDtls, ...LIBCOAP_DTLS], args: SECURE.psk },
]
/** Changes of a round, each of which reaches every observer. */
const WRITES = 10
/** After that long without work the gateway keeps a session in a smaller form. */
const SILENCE_MS = 25_000

const asked = options()
const all = SHAPES.flatMap(({ peers }) => peers)
chosen(all, asked.only)
const results = {}
for (const shape of chosen(SHAPES, asked.shapes)) {
  const peers = present(shape.peers.filter(({ name }) => asked.only?.includes(name) ?? true))
  results[shape.name] = peers.length === 0 ? [] : await shape.run(shape, peers)
}
save("coap", { asked, results })

/** All rounds; a peer that does not get through one is named, and has no row. */
async function measured(peers, measure) {
  const rounds = await interleave(peers, asked.rounds, async (peer) => {
    const running = await peer.start()
    try {
      return await measure(running)
    } catch (error) {
      fail(`${peer.name}: ${error.message}`)
      return undefined
    } finally {
      await stop(running.child)
    }
  })
  for (const [name, found] of rounds) {
    if (found.length === 0 || found.includes(undefined)) rounds.delete(name)
  }
  return rounds
}

/** The gateway's own median of a figure, if it was measured. */
function ownOf(rounds, field) {
  const own = rounds.get("tidegate")
  return own === undefined ? undefined : spread(own.map((one) => one[field])).median
}

async function compare({ name, clients, psk }, peers) {
  const over = psk.length > 0 ? "over DTLS with a pre-shared key and AES-128-CCM-8" : "over UDP"
  const what = `CON GET of a value of 4 bytes ${over}, ${clients} clients, one request in flight each`
  opening(`\n${name}: ${what}`, peers, asked)
  const rounds = await measured(peers, (running) => measure(running, clients, psk))
  const ownUs = ownOf(rounds, "us")
  const rows = peers
    .filter(({ name }) => rounds.has(name))
    .map((peer) => {
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

async function measure({ pid, port }, clients, psk) {
  // Who compiles as it runs has done so when it counts.
  const times = ["--warm", asked.seconds, "--seconds", asked.seconds]
  const words = ["coap-get", "--gate", "--port", port, "--clients", clients, ...times, ...psk]
  const { go } = await gated(words.map(String))
  const before = cpuMs(pid)
  const { answers, again, seconds, p50_us, p99_us } = await go()
  const spent = cpuMs(pid) - before
  if (answers === 0) throw new Error("nothing was answered")
  return { us: (spent * 1_000) / answers, perSecond: answers / seconds, again, p50: p50_us, p99: p99_us }
}

async function observe({ name, most, args }, peers) {
  const count = Math.min(most, asked.quick ? 500 : asked.observers)
  opening(
    `\n${name}: ${count} observers of one value, ${WRITES} changes, each known to all before the next`,
    peers,
    asked,
  )
  const rounds = await measured(peers, (running) => tell(running, count, args))
  const ownUs = ownOf(rounds, "us")
  const rows = peers
    .filter(({ name }) => rounds.has(name))
    .map((peer) => {
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

async function tell({ pid, port }, count, args) {
  // What everyone has once is there before the observers come.
  const psk = args.includes("--psk") ? SECURE.psk : []
  const warm = await gated(["coap-get", "--gate", "--port", port, "--clients", 64, "--seconds", 1, ...psk].map(String))
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
  return { us: (spent * 1_000) / told, kib, ms: p50_us / 1_000, again }
}

async function hold({ name, clients, psk }, peers) {
  const count = asked.quick ? 200 : clients
  const what = `${count} sessions of DTLS, each with a handshake and a GET, then silence of ${SILENCE_MS / 1_000} s`
  opening(`\n${name}: ${what}`, peers, asked)
  const rounds = await measured(peers, (running) => open(running, count, psk))
  const ownUs = ownOf(rounds, "us")
  const rows = peers
    .filter(({ name }) => rounds.has(name))
    .map((peer) => {
      const found = rounds.get(peer.name)
      const [us, kib, silentKib] = ["us", "kib", "silentKib"].map((field) => spread(found.map((one) => one[field])))
      return { name: peer.name, us, ...(peer.hasHeap ? {} : { kib, silentKib }) }
    })
  const head = ["", "CPU us a session", "tidegate / it", "KiB a session", "KiB after the silence"]
  const cells = rows.map(({ name, us, kib, silentKib }) => [
    name,
    ranged(us),
    name === "tidegate" ? "" : ratio(ownUs, us.median),
    kib === undefined ? "a heap" : ranged(kib),
    silentKib === undefined ? "a heap" : ranged(silentKib),
  ])
  say(table(head, cells))
  return rows
}

async function open({ pid, port }, count, psk) {
  const sessions = (clients) => {
    const words = ["coap-get", "--gate", "--met", "--port", port, "--clients", clients, "--seconds", 0, ...psk]
    return gated(words.map(String))
  }
  // A first quarter is not counted, and stays.
  const first = await sessions(Math.ceil(count / 4))
  await sleep(500)
  const [before, spentBefore] = [memoryKiB(pid), cpuMs(pid)]
  const held = await sessions(count)
  const spent = cpuMs(pid) - spentBefore
  await sleep(500)
  const kib = (memoryKiB(pid) - before) / count
  await sleep(asked.quick ? 1_000 : SILENCE_MS)
  const silentKib = (memoryKiB(pid) - before) / count
  for (const { go } of [held, first]) await go()
  return { us: (spent * 1_000) / count, kib, silentKib }
}
