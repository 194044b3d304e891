// npm run bench and `tidegate bench [name...]`: the native and the JavaScript way of the
// same work, side by side on this machine. Each group is one file in paths/; it returns
// rows of { name, operations (per call), run, before (each call, not measured) }, or a reason why it cannot be measured.
import { spawnSync } from "node:child_process"
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { cpus, totalmem } from "node:os"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import { escaped, page, partsOf } from "./lib/html.mjs"

const GROUPS = ["codec", "boundary", "policy", "proxy"]

/** Beside installed peers, with processes of their own: these stand in a clone only. */
const SCRIPTS = {
  http: "http-proxy.mjs",
  broker: "mqtt.mjs",
  coap: "coap.mjs",
  ladder: "policy.mjs",
  memory: "memory.mjs",
  storm: "mqtt-connects.mjs",
  syscalls: "syscalls.mjs",
}

/** The names that can be measured here. */
export function benches() {
  return [...GROUPS, ...Object.keys(SCRIPTS).filter((name) => existsSync(new URL(SCRIPTS[name], import.meta.url)))]
}

/** Measures `names` of `benches()`, `codec boundary policy proxy` where none is named, and prints a table for each. */
export async function runBench(names, { json, html, quick = false } = {}) {
  // What cannot be written is told before the minutes, not behind them.
  for (const file of [json, html].filter((file) => file !== undefined)) {
    mkdirSync(dirname(file), { recursive: true })
    accessSync(dirname(file), constants.W_OK)
  }
  const results = {}
  for (const name of names.filter((name) => name in SCRIPTS)) results[name] = runScript(name, quick)
  const groups = names.length === 0 ? GROUPS : names.filter((name) => GROUPS.includes(name))
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, memoryBytes: totalmem(), node: process.version }
  if (groups.length > 0) process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}\n`)
  for (const name of groups) results[name] = await runGroup(name, quick)
  if (html !== undefined) {
    const intro = `<p>${escaped(machine.cpu)}, ${machine.cores} cores, Node ${machine.node}. Nanoseconds of one operation.</p>`
    writeFileSync(html, page("Tidegate: native and JavaScript", [intro, ...partsOf(results)]))
    process.stdout.write(`written: ${html}\n`)
  }
  if (json !== undefined) writeFileSync(json, `${JSON.stringify({ machine, results }, null, 2)}\n`)
}

function runScript(name, quick) {
  const script = fileURLToPath(new URL(SCRIPTS[name], import.meta.url))
  const written = fileURLToPath(new URL(`out/${SCRIPTS[name].replace(".mjs", ".json")}`, import.meta.url))
  rmSync(written, { force: true })
  const { status } = spawnSync(process.execPath, [script, ...(quick ? ["--quick"] : [])], { stdio: "inherit" })
  if (status !== 0) process.exitCode = 1
  return existsSync(written) ? JSON.parse(readFileSync(written, "utf8")) : null
}

/** On a terminal: which of how many is being measured. */
function showProgress(tasks) {
  if (!process.stderr.isTTY) return () => {}
  for (const [index, task] of tasks.entries()) {
    task.addEventListener("start", () => {
      const done = Math.round((index / tasks.length) * 30)
      process.stderr.write(`\r\x1b[K  [${"#".repeat(done).padEnd(30)}] ${index + 1} of ${tasks.length}: ${task.name}`)
    })
  }
  return () => process.stderr.write("\r\x1b[K")
}

async function runGroup(name, quick) {
  const { Bench } = await import("tinybench")
  const { title, open } = await import(`./paths/${name}.mjs`)
  process.stdout.write(`\n${title}\n`)
  const { rows, missing = [], close } = await open()
  const bench = new Bench(quick ? { time: 5, warmup: false, iterations: 4 } : { time: 500, warmupTime: 200 })
  for (const { name: task, run, before } of rows) bench.add(task, run, before && { beforeEach: before })
  const ended = showProgress(bench.tasks)
  await bench.run()
  ended()
  await close?.()
  const measured = bench.tasks.map((task, index) => ({
    ...toResult(task, rows[index].operations ?? 1),
    ...(rows[index].peer && { peer: true }),
  }))
  printTable(measured)
  for (const reason of missing) process.stdout.write(`  not measured: ${reason}\n`)
  return measured
}

/** Nanoseconds of one operation: the median of the calls, and where most of them lie. */
function toResult({ name, result }, operations) {
  if (result?.error !== undefined) return { name, error: String(result.error) }
  const { latency } = result
  const perOperation = (milliseconds) => Math.round((milliseconds * 1e6) / operations)
  return { name, nanoseconds: perOperation(latency.p50), p99: perOperation(latency.p99), operations }
}

/** Each row is compared with the peer above it, where the group has peers, else with the first one. */
function printTable(results) {
  const hasPeers = results.some(({ peer }) => peer)
  let base = results.find(({ nanoseconds }) => nanoseconds !== undefined)?.nanoseconds ?? 1
  const rows = results.map(({ name, nanoseconds, p99, error, peer }) => {
    if (error !== undefined) return [name, "failed", "", error]
    if (peer) base = nanoseconds
    const ratio = nanoseconds / Math.max(1, base)
    const winner = hasPeers && !peer ? (ratio > 1 ? "  JavaScript wins" : "  Rust wins") : ""
    return [name, duration(nanoseconds), duration(p99), `${ratio.toFixed(2)} x${winner.padEnd(hasPeers ? 17 : 0)}`]
  })
  const table = [["", "median", "p99", hasPeers ? `to the peer${" ".repeat(17)}` : "to the first"], ...rows]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column].length)))
  for (const [name, ...numbers] of table) {
    const cells = numbers.map((cell, index) => cell.padStart(widths[index + 1]))
    process.stdout.write(`  ${name.padEnd(widths[0])}  ${cells.join("  ")}\n`)
  }
}

function duration(nanoseconds) {
  if (nanoseconds >= 1e6) return `${(nanoseconds / 1e6).toFixed(2)} ms`
  return nanoseconds >= 1e4 ? `${(nanoseconds / 1e3).toFixed(1)} us` : `${nanoseconds} ns`
}
