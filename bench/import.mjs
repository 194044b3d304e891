// F17: what `import "tidegate"` takes in a fresh process, in milliseconds of wall time,
// beside the import of an empty module there: what is left of it is Node's own.
import { spawnSync } from "node:child_process"
import { options } from "./lib/options.mjs"
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
save("import", { rows })
