// npm test: sets up, builds, then the Rust tests and the TypeScript tests with the same
// cargo profile as the addon, so that dependencies compile once. Arguments go to ava.
import { existsSync } from "node:fs"
import { join } from "node:path"
import { has, nativeFeatures, root, run, setup } from "./setup.mjs"

const TOOLS = {
  mosquitto_pub: "mosquitto-clients",
  "coap-client-notls": "libcoap3-bin",
  curl: "curl",
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
run(process.execPath, [ava, ...process.argv.slice(2)])
