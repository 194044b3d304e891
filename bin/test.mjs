// npm test: sets up, builds, then the Rust tests and the TypeScript tests with the same
// cargo profile as the addon, so that dependencies compile once. Arguments go to ava; it runs
// what built-tests.mjs makes of the tests.
//
// The files run side by side, so that one can be starved by its neighbours. When a few
// fail, each is run once more with nothing beside it: what fails alone fails the run, what
// passes is named as unsteady.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { stripVTControlCharacters } from "node:util"
import { buildTests, builtTest } from "./built-tests.mjs"
import { has, nativeFeatures, root, run, setup } from "./setup.mjs"

const TOOLS = {
  mosquitto_pub: "mosquitto-clients",
  "coap-client-notls": "libcoap3-bin",
  curl: "curl",
}

/** With more failed files than this the fault is not in their neighbours. */
const AGAIN_AT_MOST = 5

/** Runs ava; what it prints is shown and kept. */
async function runAva(args) {
  const env = process.stdout.isTTY ? { FORCE_COLOR: "1", ...process.env } : process.env
  const child = spawn(process.execPath, [ava, "--config", "bin/ava.config.mjs", ...args], {
    cwd: root,
    env,
    stdio: ["inherit", "pipe", "inherit"],
  })
  let output = ""
  child.stdout.setEncoding("utf8").on("data", (text) => {
    output += text
    process.stdout.write(text)
  })
  const [status] = await once(child, "close")
  return { status: status ?? 1, output }
}

/** The files of the tests that ava printed as failed; none when something else failed, too, such as a process. */
function failedFiles(output) {
  const failures = stripVTControlCharacters(output)
    .split("\n")
    .filter((line) => /^\s*✘/.test(line))
  const files = failures.map((line) => {
    const [folder, name] = line.replace(/^\s*✘ (\[fail\]: )?/, "").split(" › ")
    return `test/${folder}/${name}.test.ts`
  })
  return files.every((file) => existsSync(join(root, file))) ? [...new Set(files)] : []
}

setup()
const missing = Object.entries(TOOLS).filter(([tool]) => !has(tool))
if (missing.length > 0) {
  const packages = [...new Set(missing.map(([, name]) => name))]
  process.stderr.write(
    `tests that need ${missing.map(([tool]) => tool).join(", ")} are skipped; apt-get install ${packages.join(" ")}\n`,
  )
}
const features = nativeFeatures("tidegate-proxy")
run("cargo", ["test", "--quiet", "--workspace", "--exclude", "tidegate-node", "--profile", "ci", ...features])
const ava = join(root, "node_modules", "ava", "entrypoints", "cli.mjs")
if (!existsSync(ava)) throw new Error("ava is not installed; delete node_modules and try again")
await buildTests()
const asked = process.argv.slice(2).map(builtTest)
const first = await runAva(asked)
const suspects = asked.length === 0 && first.status === 1 ? failedFiles(first.output) : []
if (suspects.length === 0 || suspects.length > AGAIN_AT_MOST) process.exit(first.status)

process.stdout.write(`\n${suspects.length} of the files failed beside the others; each once more, alone:\n`)
const second = await runAva(["--concurrency", "1", ...suspects.map(builtTest)])
if (second.status === 0) {
  for (const file of suspects) process.stdout.write(`unsteady: ${file} passed alone\n`)
  // ava says how many passed only where all did.
  const told = stripVTControlCharacters(first.output).match(/^ *[✔✘] /gm) ?? []
  process.stdout.write(`\n  ${told.length} tests passed\n`)
}
process.exit(second.status)
