// What a script prints and leaves behind: one table a shape, and a JSON file.
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus, release, totalmem } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { escaped, partsOf, saveHtml } from "./html.mjs"

const OUT = fileURLToPath(new URL("../out/", import.meta.url))

/** The machine, as far as it decides about figures. */
export function machine() {
  const [{ model } = { model: "unknown" }] = cpus()
  const memoryGiB = Math.round(totalmem() / 2 ** 30)
  return { cpu: model, cores: cpus().length, memoryGiB, kernel: release(), node: process.version }
}

/** Rows with a header row, numbers to the right. */
export function table(head, rows) {
  const lines = [head, ...rows.map((row) => row.map(String))]
  const widths = head.map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  const pad = (cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))
  const rule = widths.map((width) => "-".repeat(width))
  const print = (line) => `  ${line.map(pad).join("  ")}`
  return `${[print(lines[0]), print(rule), ...lines.slice(1).map(print)].join("\n")}\n`
}

/** `12.3 (11.9 to 13.0)` */
export function ranged({ median, min, max }, digits = 1) {
  return `${median.toFixed(digits)} (${min.toFixed(digits)} to ${max.toFixed(digits)})`
}

/** What of `own` a peer takes: `0.70` means that the gateway needs 70 % of the peer's. */
export function ratio(own, peer) {
  return own === undefined || !(peer > 0) ? "-" : (own / peer).toFixed(2)
}

/** Prints which peers are missing and how to get them; gives those that are there. */
export function present(peers) {
  const missing = peers.filter((peer) => peer.missing() !== undefined)
  for (const peer of missing) say(`missing: ${peer.name}; install it with: ${peer.missing()}`)
  return peers.filter((peer) => !missing.includes(peer))
}

/** Says what runs where, before the tables. */
export function opening(title, peers, { quick }) {
  const { cpu, cores, kernel, node } = machine()
  say(`${title}\n  ${cores} x ${cpu}, Linux ${kernel}, Node ${node}`)
  say(`  ${peers.map((peer) => `${peer.name} ${peer.version()}`).join(", ")}`)
  if (quick) say("  --quick: shows that the script works; the figures mean nothing")
}

/** Writes bench/out/<name>.json, and <name>.html unless the script writes a page of its own. */
export function save(name, content, { html = true } = {}) {
  mkdirSync(OUT, { recursive: true })
  const path = join(OUT, `${name}.json`)
  const at = new Date().toISOString()
  writeFileSync(path, `${JSON.stringify({ machine: machine(), at, ...content }, null, 2)}\n`)
  say(`written: bench/out/${name}.json`)
  if (!html) return
  const { cpu, cores, kernel, node } = machine()
  const intro = `<p>${at}, ${cores} x ${escaped(cpu)}, Linux ${kernel}, Node ${node}. Ratios count, rates belong to this machine.</p>`
  saveHtml(name, `Tidegate: ${name}`, [intro, ...partsOf(content)])
}

/** Goes on, but ends with status 1: such a figure is not one. */
export function fail(text) {
  say(`FAILED: ${text}`)
  process.exitCode = 1
}

export function say(text) {
  process.stdout.write(`${text}\n`)
}
