// Writes the tables of docs/ from the code that holds the numbers, so that nobody copies
// one by hand. `--check` writes nothing and ends with 1 where a table is out of date.
// Needs dist/: npm run build:ts.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { createProgram } from "../dist/cli/main.js"
import { ConfigSchema } from "../dist/config/schema/index.js"
import { ERROR_CODES } from "../dist/errors.js"
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

// docs/mqtt-conformance.md: each normative statement of both versions with the tests whose titles
// name it, or the reason for none.
const root = fileURLToPath(new URL("../", import.meta.url))
const CITATION = /(?:MQTT3?-\d+(?:\.\d+)+|RFC\d+-\d+(?:\.\d+)*)-\d+/g

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

/** Statements of a list, each with its tests or the reason for none. */
function statements(list) {
  const read = (name) => readFileSync(join(root, "test/mqtt", name), "utf8")
  const tested = citations([...sources("test", ".test.ts"), ...sources("crates/codec/mqtt/tests", ".rs")])
  const reasons = new Map([...read("untested.txt").matchAll(/^(MQTT\S+) (.+)$/gm)].map(([, id, why]) => [id, why]))
  return [...read(list).matchAll(/^(MQTT\S+) (\w+)$/gm)].map(([, id, whom]) => {
    const files = tested.get(id)
    if (files) return { id, is: "tested", text: files.map((file) => `\`${file}\``).join(", ") }
    if (whom === "client") return { id, is: "client", text: "binds the client" }
    return { id, is: reasons.has(id) ? "reason" : "open", text: reasons.get(id) ?? "**neither a test nor a reason**" }
  })
}

function table(list) {
  const rows = statements(list)
  const count = (is) => rows.filter((row) => row.is === is).length
  return `${rows.length} statements: ${count("tested")} are named by a test, ${count("client")} bind the client only, ${count("reason")} have a reason for no test.

| statement | test |
| --- | --- |
${rows.map(({ id, text }) => `| ${id.replace("MQTT3-", "MQTT-")} | ${text} |`).join("\n")}
`
}

function conformance() {
  return `# MQTT, statement by statement

Each normative statement of the specifications by its number, with the tests that name it in their titles. They run against a real gateway with packets of a
foreign codec, or with bytes. The suites of other projects, which [mqtt.md](mqtt.md) tells how to run, say the same from outside.

Written by \`node docs/generate.mjs\` from the titles of tests; a statement with neither a test nor a reason fails the build.

## MQTT 5 (OASIS Standard, 7 March 2019)

${table("statements.txt")}
## MQTT 3.1.1 (OASIS Standard, 29 October 2014)

${table("statements-311.txt")}`
}

// docs/coap-conformance.md: the same for CoAP, whose documents number no statements: the numbers and
// words are ours, in test/coap.
const COAP_DOCUMENTS = [
  ["RFC7252", "CoAP (RFC 7252)"],
  ["RFC7641", "Observe (RFC 7641)"],
  ["RFC7959", "Blocks (RFC 7959)"],
  ["RFC8323", "TCP and WebSockets (RFC 8323)"],
  ["RFC7967", "No-Response (RFC 7967)"],
  ["RFC8768", "Hop-Limit (RFC 8768)"],
  ["RFC8132", "FETCH and PATCH (RFC 8132)"],
  ["RFC8075", "From HTTP to CoAP (RFC 8075)"],
  ["RFC9175", "Echo and Request-Tag (RFC 9175)"],
]

function coapStatements() {
  const read = (name) => [...readFileSync(join(root, "test/coap", name), "utf8").matchAll(/^(RFC\S+) (.+)$/gm)]
  const rust = ["crates/codec/coap/tests", "crates/proxy/tests/coap", "crates/proxy/src/outbound/coap"]
  const tested = citations([...sources("test", ".test.ts"), ...rust.flatMap((folder) => sources(folder, ".rs"))])
  const reasons = new Map(read("untested.txt").map(([, id, why]) => [id, why]))
  const known = new Set(read("statements.txt").map(([, id]) => id))
  const unknown = [...tested.keys(), ...reasons.keys()].filter((id) => id.startsWith("RFC") && !known.has(id))
  if (unknown.length > 0) throw new Error(`no such statement in test/coap/statements.txt: ${unknown.join(", ")}`)
  return read("statements.txt").map(([, id, text]) => {
    const files = tested.get(id)?.map((file) => `\`${file}\``).join(", ")
    return { id, text, is: files ? "tested" : "reason", how: files ?? reasons.get(id) ?? "**neither a test nor a reason**" }
  })
}

function coapConformance() {
  const rows = coapStatements()
  const tested = rows.filter(({ is }) => is === "tested").length
  const parts = COAP_DOCUMENTS.map(([document, title]) => {
    const own = rows.filter(({ id }) => id.startsWith(`${document}-`))
    const lines = own.map(({ id, text, how }) => `| ${id} | ${cell(text)} | ${cell(how)} |`)
    return `\n## ${title}\n\n| statement | what | test |\n| --- | --- | --- |\n${lines.join("\n")}\n`
  })
  return `# CoAP, statement by statement

What the specifications demand of a server or a proxy, in short words of our own, with the tests that name each statement in their titles or above them. The
documents do not number their statements: \`RFC7252-4.2-1\` is the first one here of section 4.2 of RFC 7252. ${rows.length} statements: ${tested} are named by a test,
${rows.length - tested} have a reason for no test.

Written by \`node docs/generate.mjs\` from test/coap and the tests; a statement with neither a test nor a reason fails the build.
${parts.join("")}`
}

// docs/reference: every key of the schema, every command, every error code.
const cell = (text) => String(text).replaceAll("|", "\\|").replaceAll("\n", " ").replaceAll("<", "&lt;")

function typeOf(schema) {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const)}\``
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${value}\``).join(", ")
  if (schema.type === "array") return `list of ${schema.items ? typeOf(schema.items) : "anything"}`
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(typeOf))].join(" or ")
  if (schema.type === "object" && schema.patternProperties) return "object by name"
  return schema.type ?? "anything"
}

/** Rows of an object's keys, those inside of them behind it; a key that has been seen at the same depth is not repeated. */
function keys(schema, at, rows) {
  for (const form of schema.anyOf ?? [schema]) {
    if (form.type === "array" && form.items) keys(form.items, `${at}[]`, rows)
    for (const inner of Object.values(form.patternProperties ?? {})) keys(inner, `${at}.<name>`, rows)
    for (const [name, inner] of Object.entries(form.properties ?? {})) {
      const path = at === "" ? name : `${at}.${name}`
      if (rows.has(path)) continue
      rows.set(path, `| \`${path}\` | ${cell(typeOf(inner))} | ${cell(meaningOf(inner))} |`)
      keys(inner, path, rows)
    }
  }
  return rows
}

/** One column for all of it: most keys have neither a default nor bounds, and a page is narrow. */
function meaningOf({ description, minimum, maximum = Infinity, default: standard }) {
  const bounds = minimum === undefined ? [] : [`${number(minimum)} to ${number(maximum)}`]
  const value = typeof standard === "number" ? number(standard) : `\`${standard}\``
  const told = standard === undefined || /\bdefault\b/.test(description) ? [] : [`default ${value}`]
  return [description ?? [], bounds, told].flat().join("; ")
}

function configReference() {
  const rows = [...keys(ConfigSchema, "", new Map())]
  const groups = Map.groupBy ? Map.groupBy(rows, ([path]) => path.split(/[.[]/)[0]) : grouped(rows)
  const parts = [...groups].map(([name, list]) => {
    return `\n## \`${name}\`\n\n| key | type | meaning |\n| --- | --- | --- |\n${list.map(([, row]) => row).join("\n")}\n`
  })
  return `# Every configuration key

From the schema that a configuration is checked with; what the keys mean together is in [configuration.md](../configuration.md). \`<name>\` is a name of
yours, \`[]\` each entry of a list. Behind the meaning stand bounds and default, where there are any.

Written by \`node docs/generate.mjs\`.
${parts.join("")}`
}

function grouped(rows) {
  const groups = new Map()
  for (const row of rows) {
    const [name] = row[0].split(/[.[]/)
    groups.set(name, [...(groups.get(name) ?? []), row])
  }
  return groups
}

async function commandReference() {
  const program = await createProgram()
  const parts = []
  const add = (command, names) => {
    const title = [...names, command.name()].join(" ")
    const lines = command.createHelp().formatHelp(command, Object.assign(command.createHelp(), { helpWidth: 120 }))
    parts.push(`\n## ${title}\n\n\`\`\`\n${lines.trimEnd()}\n\`\`\`\n`)
    for (const child of command.commands) if (child.name() !== "help") add(child, [...names, command.name()])
  }
  for (const command of program.commands) if (command.name() !== "help") add(command, ["tidegate"])
  return `# Every command\n\nAs \`--help\` prints them; exit codes, signals and environment are in [cli.md](../cli.md).\n\nWritten by \`node docs/generate.mjs\`.\n${parts.join("")}`
}

function errorReference() {
  const rows = Object.entries(ERROR_CODES).map(([code, { exit, text }]) => `| \`${code}\` | ${exit} | ${cell(text)} |`)
  return `# Every error code

A \`TidegateError\` has \`code\`, \`message\`, \`hint\` (what to do about it, or null) and \`problems\` (of a configuration: path, message, line). The command line ends
with the exit code: 1 the user's input, 2 the environment, 70 our fault. Codes are never reused.

Written by \`node docs/generate.mjs\` from \`src/errors.ts\`.

| code | exit | what |
| --- | --- | --- |
${rows.join("\n")}
`
}

const PAGES = [
  ["limits.md", HEAD + SECTIONS.map(section).join("")],
  ["mqtt-conformance.md", conformance()],
  ["coap-conformance.md", coapConformance()],
  ["reference/config.md", configReference()],
  ["reference/commands.md", await commandReference()],
  ["reference/errors.md", errorReference()],
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
