// F10: what it costs to tell a protocol by its first bytes, in nanoseconds, and that it
// takes no system call of its own (the function has no I/O; syscalls.mjs counts the rest).
import { spawnSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../", import.meta.url))
const rounds = process.argv.includes("--quick") ? 2 : 6
const costs = new Map()
for (let round = 0; round < rounds; round++) {
  const { status, stdout } = spawnSync(
    "cargo",
    ["run", "--quiet", "--release", "-p", "tidegate-detect", "--example", "cost"],
    { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] },
  )
  if (status !== 0) process.exit(status ?? 1)
  if (round === 0) continue
  for (const [name, ns] of Object.entries(JSON.parse(stdout))) costs.set(name, [...(costs.get(name) ?? []), ns])
}
const rows = [...costs].map(([name, values]) => {
  const sorted = values.sort((a, b) => a - b)
  return { opening: name, medianNs: sorted[sorted.length >> 1], minNs: sorted[0], maxNs: sorted.at(-1) }
})
console.table(rows)
mkdirSync(`${root}bench/out`, { recursive: true })
writeFileSync(`${root}bench/out/detect.json`, `${JSON.stringify(rows, null, 2)}\n`)
