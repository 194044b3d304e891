// npm start: sets up what is missing, builds, starts a small demo upstream and runs the
// gateway with examples/demo. Stops everything with the first SIGINT or SIGTERM.
import { fork } from "node:child_process"
import { join } from "node:path"
import { has, root, setup } from "./setup.mjs"

const TOOLS = { mosquitto_pub: "mosquitto-clients", "coap-client-notls": "libcoap3-bin", curl: "curl" }

setup()
const ports = await startUpstream()
process.env.DEMO_ENDPOINTS = ports.map((port) => `127.0.0.1:${port}`).join(",")
const { main } = await import("../dist/cli/main.js")
await main([process.execPath, "tidegate", "run", "--config", join(root, "examples", "demo", "tidegate.config.ts")])
if (process.exitCode) process.exit()
printCommands()

/** Two servers in a process of their own; it ends with this one. */
function startUpstream() {
  const child = fork(join(root, "examples", "demo", "upstream.mjs"), { stdio: ["ignore", "inherit", "inherit", "ipc"] })
  process.on("exit", () => child.kill())
  return new Promise((resolve) => child.once("message", resolve))
}

function printCommands() {
  const missing = Object.entries(TOOLS).filter(([tool]) => !has(tool))
  process.stdout.write(`
Try it from another terminal:
  mosquitto_sub -p 7000 -t 'plant/+/temp' -v
  mosquitto_pub -p 7000 -t plant/1/temp -m 21.5 -q 1 -r
  coap-client-notls -m post -e 22.0 coap://127.0.0.1/t/plant/1/temp
  curl -d 22.5 http://127.0.0.1:7000/t/plant/1/temp
  curl http://127.0.0.1:7000/t/plant/1/temp
  curl http://127.0.0.1:7000/api/hello
Look inside: http://127.0.0.1:7001/  Stop: Ctrl-C
`)
  if (missing.length === 0) return
  const [tools, packages] = [missing.map(([tool]) => tool), [...new Set(missing.map(([, name]) => name))]]
  process.stdout.write(`Not installed here: ${tools.join(", ")}. Install with: apt-get install ${packages.join(" ")}\n`)
}
