// Every script of this folder that compares, one after the other, and what they printed as one
// page: bench/out/all.md. Options go to each of them; --scripts a,b runs only these.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const HERE = fileURLToPath(new URL("./", import.meta.url))
const PAGE = join(HERE, "out", "all.md")

/** What leaves the machine at rest comes first: memory is read before anything has warmed it. */
const SCRIPTS = [
  "memory",
  "http-proxy",
  "http2",
  "handshakes",
  "refusals",
  "mqtt",
  "mqtt-latency",
  "mqtt-retained",
  "mqtt-durable",
  "mqtt-connects",
  "mqtt-fan-out",
  "coap",
  "policy",
  "features",
  "tables",
  "endpoints",
  "topic-tree",
  "control",
  "detect",
  "syscalls",
  "import",
]

const asked = process.argv.slice(2)
const at = asked.indexOf("--scripts")
const [, names] = at < 0 ? [] : asked.splice(at, 2)
const chosen = names?.split(",") ?? SCRIPTS
const unknown = chosen.filter((name) => !SCRIPTS.includes(name))
if (unknown.length > 0) throw new Error(`no ${unknown.join(", ")}; there is ${SCRIPTS.join(", ")}`)

mkdirSync(join(HERE, "out"), { recursive: true })
writeFileSync(PAGE, "")
const failed = []
for (const name of chosen) {
  const from = Date.now()
  process.stdout.write(`\n${name}\n`)
  const child = spawn(process.execPath, [join(HERE, `${name}.mjs`), ...asked], { stdio: ["ignore", "pipe", "inherit"] })
  let text = ""
  child.stdout.setEncoding("utf8").on("data", (part) => {
    process.stdout.write(part)
    text += part
  })
  const [status] = await once(child, "close")
  if (status !== 0) failed.push(name)
  const seconds = Math.round((Date.now() - from) / 1_000)
  const kept = text.split("\n").filter((line) => !line.startsWith("written: "))
  const command = `node bench/${[`${name}.mjs`, ...asked].join(" ")}`
  const title = `## \`${command}\``
  const end = status === 0 ? "" : `\n\nIt ended with status ${status}.`
  appendFileSync(
    PAGE,
    `${title}\n\n\`\`\`text\n${kept.join("\n").replace(/^\n+|\s+$/g, "")}\n\`\`\`${end}\n\nTook ${seconds} s.\n\n`,
  )
}
process.stdout.write(`\nwritten: bench/out/all.md\n`)
if (failed.length > 0) {
  process.stdout.write(`FAILED: ${failed.join(", ")}\n`)
  process.exitCode = 1
}
