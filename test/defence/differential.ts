/**
 * Sends the corpus to Tidegate, nginx, HAProxy and hyper and writes the disagreements
 * with their reasons to `DISAGREEMENTS.md`. With `--hold` Tidegate's verdicts are
 * written into the corpus too: review them before they are committed. With `--check`
 * nothing is written; a disagreement that does not stand there yet is a failure.
 *
 *     node --import=@oxc-node/core/register test/defence/differential.ts
 */
import { readFileSync, writeFileSync } from "node:fs"
import { runGateway } from "../e2e/run-gateway.ts"
import { type Case, each, loadCorpus, verdictOf } from "./corpus.ts"
import { startOrigin } from "./origin.ts"
import { type Peer, startHaproxy, startHyper, startNginx } from "./peers.ts"

const QUIET_MS = 500
const origin = await startOrigin()
const gateway = await runGateway({
  upstreams: { origin: { endpoints: [`127.0.0.1:${origin.port}`] } },
  routes: [{ when: { path: "/**" }, to: "origin" }],
})
const own: Peer = { name: "Tidegate", port: gateway.port, stop: () => void gateway.stop() }
const peers = [own, await startNginx(origin.port), await startHaproxy(origin.port), await startHyper()]
const cases = loadCorpus()
const rows = await each(cases, 16, async (entry) => ({
  entry,
  verdicts: await Promise.all(peers.map(({ port }) => verdictOf(port, entry.request, QUIET_MS))),
}))
for (const peer of peers) peer.stop()
origin.stop()

if (process.argv.includes("--hold")) {
  for (const group of new Set(cases.map((entry) => entry.group))) {
    const file = new URL(`corpus/${group}.json`, import.meta.url)
    const held = JSON.parse(readFileSync(file, "utf8")) as Case[]
    const found = rows.filter(({ entry }) => entry.group === group)
    const next = held.map((entry, index) => ({ ...entry, tidegate: found[index]?.verdicts[0] }))
    writeFileSync(file, `${JSON.stringify(next, null, 2)}\n`)
  }
}

/** What counts as agreeing: the same requests reached the origin, and the rest was refused or not. */
const essence = (verdict: string): string =>
  verdict
    .replace(/refused \d{3}|, closed$/g, "refused")
    .replace(/^closed$/, "refused")
    .replace(/(; refused|refused)+$/, "refused")
    .replace(/refusedrefused/, "refused")
const differing = rows.filter(({ verdicts }) => new Set(verdicts.map(essence)).size > 1)
const cell = (text: string): string => `\`${text.replaceAll("|", "\\|").slice(0, 60)}\``
const sections = [...new Set(cases.map((entry) => entry.group))].map((group) => {
  const own = differing.filter(({ entry }) => entry.group === group)
  const lines = own.map(
    ({ entry, verdicts }) =>
      `| ${entry.name.replaceAll("|", "\\|")} | ${verdicts.map(cell).join(" | ")} | ${entry.why} |`,
  )
  return `## ${group}: ${own.length} of ${cases.filter((entry) => entry.group === group).length}\n\n| case | ${peers.map(({ name }) => name).join(" | ")} | why Tidegate decides so |\n|${" --- |".repeat(peers.length + 2)}\n${lines.join("\n")}\n`
})
const intro = `# Where four servers read a request differently

Written by \`differential.ts\` from \`corpus/\`: ${cases.length} requests, ${differing.length} disagreements. A verdict says which requests
reached the origin (method, target, bytes of the body), what was refused with which status, and whether the connection
closed. \`waits\`: no answer yet. hyper is asked as a server; the others are proxies with their standard settings.
`
const file = new URL("DISAGREEMENTS.md", import.meta.url)
const text = `${intro}\n${sections.join("\n")}`
console.log(`${cases.length} cases, ${differing.length} disagreements`)
if (process.argv.includes("--check")) {
  // Case, Tidegate's verdict, reason. What the others say of a body that is cut short depends on
  // when they look; that they say something else than Tidegate does not.
  const rowsOf = (all: string): string[] => {
    const lines = all.split("\n").map((line) => line.replaceAll(/\s+/g, " ").trim())
    const cells = lines.filter((line) => /^\| (?!case |---)/.test(line)).map((line) => line.split(/(?<!\\)\|/))
    return cells.map((row) => [row[1], row[2], row.at(-2)].join("|"))
  }
  const known = new Set(rowsOf(readFileSync(file, "utf8")))
  const unknown = rowsOf(text).filter((line) => !known.has(line))
  for (const line of unknown) console.log(`not in DISAGREEMENTS.md: ${line}`)
  process.exit(unknown.length === 0 ? 0 : 1)
}
writeFileSync(file, text)
process.exit(0)
