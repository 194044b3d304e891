// What a publish to a topic that was never seen before costs with 0 to 100,000 wildcard subscriptions, over 1,000,000
// topics, in nanoseconds, and how many copies it makes. That the nodes looked at do not grow is a test of the broker crate.
import { spawnSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("../", import.meta.url))
const rounds = process.argv.includes("--quick") ? 2 : 6
const costs = new Map()
for (let round = 0; round < rounds; round++) {
  const { status, stdout } = spawnSync(
    "cargo",
    ["run", "--quiet", "--release", "-p", "tidegate-broker", "--example", "publishes"],
    { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] },
  )
  if (status !== 0) process.exit(status ?? 1)
  if (round === 0) continue
  for (const { subscriptions, ns, copies } of JSON.parse(stdout)) {
    const known = costs.get(subscriptions) ?? { copies, values: [] }
    costs.set(subscriptions, { copies, values: [...known.values, ns] })
  }
}
const rows = [...costs].map(([subscriptions, { copies, values }]) => {
  const sorted = values.sort((a, b) => a - b)
  return { subscriptions, copies, medianNs: sorted[sorted.length >> 1], minNs: sorted[0], maxNs: sorted.at(-1) }
})
console.table(rows)
mkdirSync(`${root}bench/out`, { recursive: true })
writeFileSync(`${root}bench/out/topic-tree.json`, `${JSON.stringify(rows, null, 2)}\n`)
