// Writes the tables of docs/ from the code that holds the numbers, so that nobody copies
// one by hand. `--check` writes nothing and ends with 1 where a table is out of date.
// Needs dist/: npm run build:ts.
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { BROKER, COAP, DRAIN, LIMITS, MQTT, UPSTREAM } from "../dist/config/schema/numbers.js"

const SECTIONS = [
  ["limits", LIMITS, "What one peer, one connection and the whole process may take."],
  ["broker", BROKER, "Queues and counts of the embedded broker."],
  ["mqtt", MQTT, "What the broker announces to MQTT clients and enforces."],
  ["coap", COAP, "Transmission and state of CoAP (RFC 7252 section 4.8)."],
  ["drain", DRAIN, "How the gateway leaves after SIGTERM."],
  ["upstreams.<name>", UPSTREAM, "Numbers of each upstream."],
]

const HEAD = `# Limits and defaults

Every number a configuration may change. A value outside of its bounds is refused when the configuration is
checked, with its path and line. Names that end in \`Ms\` are milliseconds, in \`S\` seconds, in \`Bytes\` bytes.

Written by \`node docs/generate.mjs\`; change \`src/config/schema/numbers.ts\`, not this file.
`

function section([name, rows, meaning]) {
  const lines = Object.entries(rows).map(
    ([key, [standard, least, most, text]]) =>
      `| \`${key}\` | ${number(standard)} | ${number(least)} to ${number(most)} | ${text} |`,
  )
  return `\n## \`${name}\`\n${meaning}\n\n| name | default | bounds | meaning |\n| --- | ---: | --- | --- |\n${lines.join("\n")}\n`
}

function number(value) {
  return value.toLocaleString("en-US")
}

const path = fileURLToPath(new URL("limits.md", import.meta.url))
const wanted = HEAD + SECTIONS.map(section).join("")
const found = existsSync(path) ? readFileSync(path, "utf8") : ""
if (!process.argv.includes("--check")) {
  writeFileSync(path, wanted)
} else if (found !== wanted) {
  process.stderr.write("docs/limits.md is out of date; run: node docs/generate.mjs\n")
  process.exitCode = 1
}
