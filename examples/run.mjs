// One example by its name: node examples/run.mjs smart-home [--stay]. Starts the gateway with the
// configuration of its folder and lets the devices of devices.mjs live a short day; ends with 0 when
// what the example shows held, with 1 when not. `--stay` goes on until Ctrl-C.
import { existsSync, readdirSync } from "node:fs"
import { setup } from "../bin/setup.mjs"

const examples = readdirSync(new URL(".", import.meta.url), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !["demo", "deploy", "tested-policies"].includes(entry.name))
  .map(({ name }) => name)
const [name, ...flags] = process.argv.slice(2)

if (!examples.includes(name ?? "")) {
  process.stderr.write(`say which one: node examples/run.mjs ${examples.join(" | ")}\n`)
  process.exit(1)
}
if (!existsSync(new URL("../dist/testing.js", import.meta.url))) setup()
const { day } = await import(`./${name}/devices.mjs`)
const began = Date.now()
const say = (text) => process.stdout.write(`${((Date.now() - began) / 1000).toFixed(1).padStart(5)} s  ${text}\n`)
const claims = []
/** What the example shows: said, and counted. */
const shows = (holds, text) => {
  claims.push(holds)
  say(`${holds ? "ok  " : "NOT "} ${text}`)
}
process.on("SIGINT", end)
await day({ say, shows, stay: flags.includes("--stay"), sleep: (ms) => new Promise((done) => setTimeout(done, ms)) })
end()

/** The sum of what was shown. */
function end() {
  const held = claims.filter(Boolean).length
  say(`${held} of ${claims.length} held`)
  process.exit(held === claims.length && held > 0 ? 0 : 1)
}
