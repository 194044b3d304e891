// npm run docs: the documentation as a site, in docs/.vitepress/dist. Its tools are a workspace of their own, so
// that nobody who builds the gateway installs them. Dead links end it with 1. `--dev` serves it while it is written.
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fail, root, run, setup } from "./setup.mjs"

/** CPU time that building the pages may take, more than twice what it does: the goal is a minute, whatever else the machine does. */
const CPU_S = 60

const docs = join(root, "docs")
setup({ native: false })
run(process.execPath, [join(docs, "generate.mjs")])
const tools = join(docs, "node_modules", "vitepress")
if (!existsSync(tools)) run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: docs })
const before = childrenCpuS()
run("npm", ["run", "--silent", process.argv.includes("--dev") ? "dev" : "build"], { cwd: docs })
const took = childrenCpuS() - before
if (took > CPU_S) fail(`the site took ${took.toFixed(0)} s of CPU time to build, more than ${CPU_S} s`)

/** CPU time of the children that have ended, in seconds; 0 where the system does not tell it. */
function childrenCpuS() {
  if (!existsSync("/proc/self/stat")) return 0
  // Behind the name, which may hold anything; in ticks of 10 ms.
  const fields = readFileSync("/proc/self/stat", "utf8").split(") ").at(-1).split(" ")
  return (Number(fields[13]) + Number(fields[14])) / 100
}
