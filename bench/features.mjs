// What the features of the data path add to a proxied request, in nanoseconds of CPU time: each, and all together.
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { options } from "./lib/options.mjs"
import { ranged, save, say, table } from "./lib/report.mjs"
import { spread } from "./lib/rounds.mjs"

const GOAL_NS = 300
const asked = options()
const root = fileURLToPath(new URL("../", import.meta.url))
const command = ["test", "--quiet", "--profile", "ci", "-p", "tidegate-proxy", "--lib", "features"]
const args = [...command, "--", "--ignored", "--nocapture"]

const rounds = Array.from({ length: asked.rounds }, () => {
  const { status, stdout } = spawnSync("cargo", args, {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  })
  const line = stdout.split("\n").find((text) => text.startsWith("["))
  if (status !== 0 || line === undefined) throw new Error(`the measurement ended with ${status}: ${stdout}`)
  return JSON.parse(line)
}).slice(1)
const rows = rounds[0].map(({ of }, index) => ({ of, ns: spread(rounds.map((round) => round[index].ns)) }))
say(`What is added to parsing a head and passing it on; the goal is ${GOAL_NS} ns for all together`)
say(
  table(
    ["", "ns a request"],
    rows.map(({ of, ns }) => [of, ranged(ns, 0)]),
  ),
)
save("features", { asked, goalNs: GOAL_NS, results: rows })
