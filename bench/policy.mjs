// F11: what a policy adds to a request, rung by rung: CPU time of the worker thread and of
// the JavaScript side per request. Answers come from the route itself, so that the
// policy is a large part of what is measured; 256 connections keep the ring full.
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { wrk } from "./lib/load.mjs"
import { options } from "./lib/options.mjs"
import { threads } from "./lib/proc.mjs"
import { CORE, freePort, listening, scratch, start, stop } from "./lib/process.mjs"
import { save, say, table } from "./lib/report.mjs"

const ROOT = process.env.TIDEGATE_ROOT ?? fileURLToPath(new URL("../", import.meta.url))
const INDEX = JSON.stringify(join(ROOT, "dist", "index.js"))
const NS_PER_TICK = 10_000_000

/** What stands in `use` of the route, for each rung. */
const RUNGS = {
  none: "",
  compiled: '{ setHeader: { "x-a": "b" } }',
  filtered: 'decide({ filter: () => path("/other/**") })',
  cached: 'decide({ cache: () => ({ by: byHeader("host"), ttlMs: 60_000 }) })',
  ring: "decide({})",
}

const asked = options()
const rows = []
for (const [rung, use] of Object.entries(RUNGS)) rows.push({ rung, ...(await measure(use)) })
const base = rows[0]
say("\nCPU time per request at 256 connections, nanoseconds; added: above no policy")
const added = (value, none) => (value - none).toFixed(0)
say(
  table(
    ["", "worker", "added", "JavaScript", "added", "requests"],
    rows.map(({ rung, worker, js, requests }) => [
      rung,
      worker.toFixed(0),
      added(worker, base.worker),
      js.toFixed(0),
      added(js, base.js),
      String(requests),
    ]),
  ),
)
save("policy", { asked, rows })

async function measure(use) {
  const [port, folder] = [await freePort(), scratch()]
  const file = join(folder, "tidegate.config.mjs")
  writeFileSync(
    file,
    `import { byHeader, defineConfig, definePolicy, path, respond } from ${INDEX}
const decide = (extra) => definePolicy({ name: "measured", deadlineMs: 1000, fallback: "continue", decide: () => ({}), ...extra })()
export default defineConfig({
  workers: 1, admin: false, dataDir: false,
  limits: { maxDecisions: 512 },
  listeners: [{ address: "tcp://127.0.0.1:${port}", protocols: "detect" }],
  routes: [{ when: path("/**"), to: respond(200, "ok"), use: [${use}] }],
})
`,
  )
  const child = start(CORE.gateway, process.execPath, [join(ROOT, "bin", "tidegate.mjs"), "run", "--config", file], {
    cwd: folder,
  })
  await listening(port, child)
  const rounds = []
  for (let round = 0; round < asked.rounds; round++) {
    const before = ticks(child.pid)
    const { requests } = await wrk({
      port,
      connections: 256,
      seconds: asked.seconds,
      script: "routes",
      args: ["small"],
    })
    const after = ticks(child.pid)
    const per = (side) => ((after[side] - before[side]) * NS_PER_TICK) / requests
    if (round > 0 || asked.rounds === 1) rounds.push({ worker: per("worker"), js: per("js"), requests })
  }
  await stop(child)
  return rounds.sort((a, b) => a.worker - b.worker)[rounds.length >> 1]
}

/** CPU ticks of the worker thread, and of all others. */
function ticks(pid) {
  const sum = { worker: 0, js: 0 }
  for (const { pid: of, tid, name } of threads(pid)) {
    const stat = readFileSync(`/proc/${of}/task/${tid}/stat`, "utf8")
    const [user, system] = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13)
      .map(Number)
    sum[name.startsWith("tidegate-") ? "worker" : "js"] += user + system
  }
  return sum
}
