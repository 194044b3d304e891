// F18: from `npm install tidegate` to the first message on a machine without a compiler: the packages of this clone,
// their dependencies from the registry with an empty cache, the file that `tidegate init` writes. Wall time, step by
// step: the registry and the way to it are part of it.
import { once } from "node:events"
import { readFileSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import mqtt from "mqtt"
import { options } from "./lib/options.mjs"
import { CORE, find, freePort, output, scratch, start, stop } from "./lib/process.mjs"
import { ranged, save, say, table } from "./lib/report.mjs"
import { spread } from "./lib/rounds.mjs"

const { rounds, quick } = options()
const STEPS = ["npm install", "tidegate init", "tidegate run, until it listens", "an MQTT message comes back"]
const packages = output(process.execPath, [fileURLToPath(new URL("../bin/pack.mjs", import.meta.url))], {
  stdio: ["ignore", "pipe", "inherit"],
}).match(/^.+\.tgz$/gm)

/** A PATH with node, npm, a shell and what pins to a core, and with nothing that compiles. */
function tools() {
  const folder = scratch()
  for (const name of ["node", "npm", "npx", "sh", "taskset"]) symlinkSync(find(name), join(folder, name))
  return folder
}

/** Waits until the gateway says where it listens. */
async function listens(child) {
  for (let text = ""; ; ) {
    const [bytes] = await Promise.race([once(child.stdout, "data"), once(child, "close").then(() => [])])
    if (bytes === undefined) throw new Error(child.complaint())
    text += bytes
    if (/listening/.test(text)) return
  }
}

/** One installation; milliseconds of each step. */
async function install() {
  const folder = scratch()
  const env = { ...process.env, PATH: tools(), NODE_OPTIONS: "" }
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }))
  const times = []
  let from = performance.now()
  const lap = () => {
    times.push(performance.now() - from)
    from = performance.now()
  }
  const cache = ["--cache", scratch(), "--no-audit", "--no-fund"]
  output(join(env.PATH, "npm"), ["install", ...cache, ...packages], { cwd: folder, env })
  lap()
  output(join(env.PATH, "npx"), ["--no-install", "tidegate", "init"], { cwd: folder, env })
  lap()
  const [port, admin] = [await freePort(), await freePort()]
  const file = join(folder, "tidegate.config.ts")
  const text = readFileSync(file, "utf8").replace(":7000", `:${port}`).replace(":5683", ":0")
  writeFileSync(file, text.replace("listeners:", `admin: { address: "127.0.0.1:${admin}" },\n  listeners:`))
  from = performance.now()
  const command = join(folder, "node_modules", ".bin", "tidegate")
  const child = start(CORE.gateway, command, ["run"], { cwd: folder, env, stdout: "pipe" })
  await listens(child)
  lap()
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`)
  await client.subscribeAsync("first/#")
  const back = once(client, "message")
  await client.publishAsync("first/message", "21.5", { qos: 1 })
  await back
  lap()
  await client.endAsync()
  await stop(child)
  return times
}

const all = []
for (let round = 0; round < (quick ? 1 : rounds); round++) all.push(await install())
const seconds = (values) => spread(values.map((ms) => ms / 1_000))
const rows = STEPS.map((name, step) => ({ name, ...seconds(all.map((times) => times[step])) }))
rows.push({ name: "all of it", ...seconds(all.map((times) => times.reduce((sum, ms) => sum + ms))) })
say(
  table(
    ["step", "seconds"],
    rows.map((row) => [row.name, ranged(row)]),
  ),
)
save("install", { rows })
