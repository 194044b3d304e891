// F17: what `import "tidegate"` takes in a fresh process, in milliseconds of wall time,
// beside the import of an empty module there: what is left of it is Node's own. And the CPU
// time of a start, until `tidegate run` says that it listens, of this clone and of TIDEGATE_ROOT's.
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { options } from "./lib/options.mjs"
import { cpuMs } from "./lib/proc.mjs"
import { CORE, freePort, scratch, start, stop } from "./lib/process.mjs"
import { ranged, save, say, table } from "./lib/report.mjs"
import { spread } from "./lib/rounds.mjs"

const { rounds, quick } = options()
const MODULES = {
  'import "tidegate"': new URL("../dist/index.js", import.meta.url).href,
  "an empty module": "data:text/javascript,",
}

function importMs(module) {
  const program = `const from = performance.now(); await import(${JSON.stringify(module)}); console.log(performance.now() - from)`
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
    encoding: "utf8",
  })
  if (status !== 0) throw new Error(stderr)
  return Number(stdout)
}

const times = Object.fromEntries(Object.keys(MODULES).map((name) => [name, []]))
for (let round = 0; round < (quick ? 3 : rounds * 5); round++) {
  for (const [name, module] of Object.entries(MODULES)) times[name].push(importMs(module))
}
const rows = Object.entries(times).map(([name, [, ...values]]) => ({ name, ...spread(values) }))
say(
  table(
    ["module", "ms"],
    rows.map((row) => [row.name, ranged(row)]),
  ),
)

const CLONES = [fileURLToPath(new URL("../", import.meta.url)), process.env.TIDEGATE_ROOT].filter(Boolean)

async function startMs(clone) {
  const [port, admin, folder] = [await freePort(), await freePort(), scratch()]
  const file = join(folder, "tidegate.config.json")
  const listeners = [{ address: `tcp://127.0.0.1:${port}` }]
  writeFileSync(
    file,
    JSON.stringify({ workers: 1, admin: { address: `127.0.0.1:${admin}` }, dataDir: false, listeners }),
  )
  const args = [join(clone, "bin", "tidegate.mjs"), "run", "--config", file]
  const child = start(CORE.gateway, process.execPath, args, { cwd: folder, stdout: "pipe" })
  await once(child.stdout, "data")
  const used = cpuMs(child.pid)
  await stop(child)
  return used
}

const starts = new Map(CLONES.map((clone) => [clone, []]))
for (let round = 0; round < (quick ? 2 : rounds); round++) {
  for (const [clone, used] of starts) used.push(await startMs(clone))
}
const started = [...starts].map(([clone, [, ...used]]) => ({ clone, ...spread(used) }))
say(
  table(
    ["start of the gateway", "CPU ms"],
    started.map((row) => [row.clone, ranged(row)]),
  ),
)
save("import", { rows, started })
