/**
 * Ends a gateway with SIGKILL at random points under load, again and again, and counts
 * what its promises came to: acknowledged messages that never arrived (must be 0), QoS 2
 * messages that arrived twice (must be 0), messages that arrived for the first time behind a later one (must be 0).
 *
 *   node test/durability/kill.mjs [--kills 1000] [--workers 2] [--durability process|power] [--moves] [--json FILE]
 *
 * Publishers and subscribers are mqtt.js with kept sessions. One kill in four comes while
 * the gateway still starts, one in ten right after it accepts. With `--moves` connections break all the
 * time, so that sessions move between workers, and the gateway is stopped for a moment now and then.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath, pathToFileURL } from "node:url"
import { parseArgs } from "node:util"
import mqtt from "mqtt"
import { freePort } from "../free-port.mjs"

const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))
const PUBLISHERS = 4
const WINDOW = 16
const SUBSCRIBERS = 3

/** One publisher: keeps a window of messages in flight, remembers what was acknowledged. */
function publisher(url, index, qos, state) {
  const client = mqtt.connect(url, {
    clientId: `publisher-${qos}-${index}`,
    clean: false,
    protocolVersion: index % 2 === 0 ? 4 : 5,
    properties: index % 2 === 0 ? undefined : { sessionExpiryInterval: 3_600 },
    reconnectPeriod: 20,
    connectTimeout: 2_000,
  })
  client.on("error", () => {})
  let next = 0
  let inflight = 0
  const pump = () => {
    while (!state.stop && inflight < WINDOW) {
      const name = `${qos}-${index}-${next++}`
      inflight++
      state.sent++
      client.publish(`kill/${qos}/${index}`, name, { qos }, (error, packet) => {
        inflight--
        // 0x97 is an answer too: the message was refused.
        if (!error && (packet?.reasonCode ?? 0) < 0x80) state.acknowledged.add(name)
        setImmediate(pump)
      })
    }
  }
  client.on("connect", pump)
  return { client, inflight: () => inflight }
}

/** One subscriber: counts how often each message came, and messages that came before an earlier one. */
async function subscriber(url, index, state) {
  const client = mqtt.connect(url, {
    clientId: `subscriber-${index}`,
    clean: false,
    reconnectPeriod: 20,
    connectTimeout: 2_000,
  })
  client.on("error", () => {})
  const seen = new Map()
  const last = new Map()
  client.on("message", (_topic, payload) => {
    const name = payload.toString()
    const count = (seen.get(name) ?? 0) + 1
    seen.set(name, count)
    if (count > 1) return
    const [qos, from, number] = name.split("-")
    const before = last.get(`${qos}-${from}`) ?? -1
    if (Number(number) < before && state.reordered++ < 10)
      state.late.push(`subscriber ${index} got ${name} behind ${before}`)
    last.set(`${qos}-${from}`, Math.max(Number(number), before))
  })
  await once(client, "connect")
  await client.subscribeAsync("kill/#", { qos: 2 })
  return { client, seen }
}

/** What is missing, by publisher: how many, the first and the last. */
function gapsOf(names) {
  const gaps = new Map()
  for (const name of names) {
    const at = name.lastIndexOf("-")
    const [from, number] = [name.slice(0, at), Number(name.slice(at + 1))]
    const gap = gaps.get(from) ?? { from, first: number, last: number, count: 0 }
    gaps.set(from, {
      from,
      first: Math.min(gap.first, number),
      last: Math.max(gap.last, number),
      count: gap.count + 1,
    })
  }
  return [...gaps.values()]
}

function start(file) {
  const child = spawn(process.execPath, [command, "run", "--config", file], { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  const ready = new Promise((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        output += data
        if (/listening/.test(output)) resolve(true)
      })
    child.on("exit", () => resolve(false))
  })
  return { child, ready, output: () => output }
}

/** Breaks a connection every few milliseconds and stops the gateway now and then, until `state.stop`. */
async function disturb(gateway, clients, state) {
  while (!state.stop) {
    await sleep(Math.random() * 30)
    clients[Math.floor(Math.random() * clients.length)].stream?.destroy()
    if (Math.random() < 0.01) {
      const { child } = gateway()
      child.kill("SIGSTOP")
      // Often longer than clients wait for CONNACK: they come again while their first CONNECT is unread.
      await sleep(Math.random() * 3_000)
      child.kill("SIGCONT")
    }
  }
}

/** Waits until everything has come, or nothing has come for a while. */
async function waitForAll(isDone, progress) {
  let [known, since] = [progress(), Date.now()]
  while (!isDone() && Date.now() - since < 20_000) {
    await sleep(200)
    const now = progress()
    if (now !== known) [known, since] = [now, Date.now()]
  }
}

/** Runs it; resolves to the counts. */
export async function killAgainAndAgain({
  kills,
  workers = 2,
  durability = "process",
  moves = false,
  note = () => {},
}) {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-kill-"))
  const file = join(folder, "tidegate.config.json")
  const port = await freePort()
  const config = {
    workers,
    admin: false,
    listeners: [{ address: `tcp://127.0.0.1:${port}`, protocols: "detect" }],
    broker: { maxQueued: 1_000_000, maxQueuedBytes: 1 << 30, durability },
  }
  writeFileSync(file, JSON.stringify(config))
  const url = `mqtt://127.0.0.1:${port}`
  const state = { acknowledged: new Set(), sent: 0, reordered: 0, late: [], stop: false }
  let gateway = start(file)
  const ends = []
  try {
    if (!(await gateway.ready)) throw new Error(`the gateway did not start:\n${gateway.output()}`)
    const subscribers = await Promise.all(
      Array.from({ length: SUBSCRIBERS }, (_, index) => subscriber(url, index, state)),
    )
    const publishers = Array.from({ length: PUBLISHERS }, (_, index) =>
      publisher(url, index, index < PUBLISHERS / 2 ? 1 : 2, state),
    )
    ends.push(...subscribers, ...publishers)
    await sleep(300)
    const disturbing = moves
      ? disturb(
          () => gateway,
          ends.map(({ client }) => client),
          state,
        )
      : undefined
    for (let kill = 1; kill <= kills; kill++) {
      const dice = Math.random()
      if (dice < 0.25) await sleep(Math.random() * 600)
      else {
        if (!(await gateway.ready)) throw new Error(`the gateway did not start again:\n${gateway.output()}`)
        if (dice > 0.35) await sleep(50 + Math.random() * 400)
      }
      gateway.child.kill("SIGKILL")
      if (gateway.child.exitCode === null && gateway.child.signalCode === null) await once(gateway.child, "exit")
      if (/broken/.test(gateway.output())) throw new Error(`a record is broken:\n${gateway.output()}`)
      gateway = start(file)
      if (kill % 20 === 0) note(`${kill} kills, ${state.acknowledged.size} acknowledged`)
    }
    if (!(await gateway.ready)) throw new Error(`the gateway did not start again:\n${gateway.output()}`)
    state.stop = true
    await disturbing
    const isDone = () =>
      publishers.every(({ inflight }) => inflight() === 0) &&
      subscribers.every(({ seen }) => [...state.acknowledged].every((name) => seen.has(name)))
    await waitForAll(isDone, () => subscribers.reduce((sum, { seen }) => sum + seen.size, state.acknowledged.size))
    await sleep(500)
    let lost = 0
    const counts = { duplicates1: 0, duplicates2: 0 }
    const examples = [...state.late]
    for (const [index, { seen }] of subscribers.entries()) {
      const gaps = gapsOf([...state.acknowledged].filter((name) => !seen.has(name)))
      lost += gaps.reduce((sum, { count }) => sum + count, 0)
      for (const { from, first, last, count } of gaps)
        examples.push(`lost by subscriber ${index}: ${count} of ${from}, ${first} to ${last}`)
      for (const [name, count] of seen) {
        if (count === 1) continue
        counts[`duplicates${name[0]}`] += count - 1
        if (name[0] === "2" && examples.length < 20) examples.push(`twice ${name}`)
      }
    }
    return {
      kills,
      workers,
      durability,
      moves,
      acknowledged: state.acknowledged.size,
      deliveriesDue: state.acknowledged.size * SUBSCRIBERS,
      unanswered: publishers.reduce((sum, { inflight }) => sum + inflight(), 0),
      lost,
      qos2Duplicates: counts.duplicates2,
      qos1Duplicates: counts.duplicates1,
      reordered: state.reordered,
      examples,
    }
  } finally {
    await Promise.all(ends.map(({ client }) => client.endAsync(true)))
    gateway.child.kill("SIGKILL")
    rmSync(folder, { recursive: true, force: true })
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { values } = parseArgs({
    options: {
      kills: { type: "string", default: "20" },
      workers: { type: "string", default: "2" },
      durability: { type: "string", default: "process" },
      moves: { type: "boolean", default: false },
      json: { type: "string" },
    },
  })
  const result = await killAgainAndAgain({
    kills: Number(values.kills),
    workers: Number(values.workers),
    durability: values.durability,
    moves: values.moves,
    note: (text) => console.error(text),
  })
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(result, null, 2)}\n`)
  console.log(result)
  process.exitCode = result.lost + result.qos2Duplicates + result.reordered > 0 ? 1 : 0
}
