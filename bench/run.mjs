// npm run bench and `tidegate bench [name...]`: the native and the JavaScript way of the
// same work, side by side on this machine. Each group is one file in paths/; it returns
// rows of { name, operations (per call), run, before (each call, not measured) }, or a reason why it cannot be measured.
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus, totalmem } from "node:os"
import { dirname } from "node:path"
import { Bench } from "tinybench"

const GROUPS = ["codec", "boundary", "policy", "proxy"]

/** Measures the named groups, all where none is named, and prints a table for each. */
export async function runBench(names, { json } = {}) {
  const unknown = names.find((name) => !GROUPS.includes(name))
  if (unknown !== undefined) throw new Error(`there is no bench "${unknown}"; there are ${GROUPS.join(", ")}`)
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, memoryBytes: totalmem(), node: process.version }
  process.stdout.write(`${machine.cpu}, ${machine.cores} cores, Node ${machine.node}\n`)
  const results = {}
  for (const name of names.length > 0 ? names : GROUPS) results[name] = await runGroup(name)
  if (json === undefined) return
  mkdirSync(dirname(json), { recursive: true })
  writeFileSync(json, `${JSON.stringify({ machine, results }, null, 2)}\n`)
}

async function runGroup(name) {
  const { title, open } = await import(`./paths/${name}.mjs`)
  process.stdout.write(`\n${title}\n`)
  const { rows, missing = [], close } = await open()
  const bench = new Bench({ time: 500, warmupTime: 200 })
  for (const { name: task, run, before } of rows) bench.add(task, run, before && { beforeEach: before })
  await bench.run()
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
