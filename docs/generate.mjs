// Writes the tables of docs/ from the code that holds the numbers, so that nobody copies
// one by hand. `--check` writes nothing and ends with 1 where a table is out of date.
// Needs dist/: npm run build:ts.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
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

// docs/mqtt-conformance.md: each normative statement of MQTT 5 with the tests whose titles
// name it, or where the code that obeys it cites it.
const root = fileURLToPath(new URL("../", import.meta.url))
const CITATION = /MQTT-\d+\.\d+\.\d+-\d+/g

function sources(folder, extension) {
  return readdirSync(join(root, folder), { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((name) => name.endsWith(extension) && !name.includes("node_modules"))
    .sort()
}

function citations(files) {
  const found = new Map()
  for (const file of files) {
    for (const id of new Set(readFileSync(join(root, file), "utf8").match(CITATION) ?? [])) {
      found.set(id, [...(found.get(id) ?? []), file])
    }
  }
  return found
}

function conformance() {
  const statements = readFileSync(join(root, "test/mqtt/statements.txt"), "utf8").match(/^MQTT-\S+ \w+$/gm) ?? []
  const tested = citations([...sources("test", ".test.ts"), ...sources("crates/codec/mqtt/tests", ".rs")])
  const obeyed = citations(["crates/codec/mqtt/src", "crates/broker/src", "crates/proxy/src"].flatMap((folder) => sources(folder, ".rs")))
  const code = (files) => files.map((file) => `\`${file}\``).join(", ")
  const rows = statements.map((line) => {
    const [id, whom] = line.split(" ")
    if (tested.has(id)) return `| ${id} | ${code(tested.get(id))} |`
    if (obeyed.has(id)) return `| ${id} | obeyed in ${code(obeyed.get(id))}, no test names it |`
    return `| ${id} | ${whom === "client" ? "binds the client" : "no test names it"} |`
  })
  const count = (text) => rows.filter((row) => row.includes(text)).length
  return `# MQTT 5, statement by statement

Each normative statement of the specification (OASIS Standard, 7 March 2019) by its number. ${rows.length} statements: ${rows.filter((row) => row.includes("| \`")).length} are named by a
test, ${count("obeyed in")} more are cited where the code obeys them, ${count("binds the client")} bind the client only. "No test names it" does not say that it is not obeyed: the suites
of other projects, which [mqtt.md](mqtt.md) tells how to run, cover most of them.

Written by \`node docs/generate.mjs\` from the titles of tests and the citations in the code.

| statement | test |
| --- | --- |
${rows.join("\n")}
`
}

const PAGES = [
  ["limits.md", HEAD + SECTIONS.map(section).join("")],
  ["mqtt-conformance.md", conformance()],
]

for (const [name, wanted] of PAGES) {
  const path = fileURLToPath(new URL(name, import.meta.url))
  const found = existsSync(path) ? readFileSync(path, "utf8") : ""
  if (!process.argv.includes("--check")) {
    writeFileSync(path, wanted)
  } else if (found !== wanted) {
    process.stderr.write(`docs/${name} is out of date; run: node docs/generate.mjs\n`)
    process.exitCode = 1
  }
}
