/** What the documentation shows is run: configurations are checked, links lead somewhere, every metric is named. */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import test from "ava"
import { loadConfig } from "../../src/config/index.ts"
import { METRICS } from "../../src/metrics/index.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))
const pages = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].concat(
  readdirSync(join(root, "docs"))
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
)

const text = (page: string): string => readFileSync(join(root, page), "utf8")

/** Fenced blocks of a language. */
function blocks(page: string, language: string): string[] {
  return [...text(page).matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map(
    ([, block = ""]) => block,
  )
}

for (const page of pages) {
  // test/docs/cookbook.test.ts runs that one.
  if (page === "docs/cookbook.md") continue
  for (const language of ["yaml", "ts"]) {
    for (const [index, block] of blocks(page, language).entries()) {
      if (language === "ts" && !block.includes("export default")) continue
      test(`${page}: ${language} block ${index + 1} is a configuration without problems`, async (t) => {
        const folder = mkdtempSync(join(tmpdir(), "tidegate-docs-"))
        t.teardown(() => rmSync(folder, { recursive: true, force: true }))
        const file = join(folder, `tidegate.config.${language}`)
        writeFileSync(file, block)
        t.deepEqual((await loadConfig(file)).warnings, [])
      })
    }
  }
}

test("every link of the documentation leads to a file", (t) => {
  for (const page of pages) {
    for (const [, target = ""] of text(page).matchAll(/\]\(([^)#:]+)\)/g)) {
      t.true(existsSync(join(root, dirname(page), target)), `${page} links to ${target}`)
    }
  }
})

test("docs/metrics.md names every metric that has a help text", (t) => {
  const page = text("docs/metrics.md")
  for (const name of Object.keys(METRICS)) t.true(page.includes(`\`${name}`), name)
})

test("every normative statement of MQTT and CoAP has a test that names it, or the reason for none", (t) => {
  for (const [page, least] of [
    ["docs/mqtt-conformance.md", 300],
    ["docs/coap-conformance.md", 160],
  ] as const) {
    const rows = text(page)
      .split("\n")
      .filter((row) => /^\| (MQTT|RFC\d+)-/.test(row))
    t.true(rows.length >= least, page)
    const open = rows.filter((row) => row.includes("neither a test nor a reason"))
    t.deepEqual(open, [], page)
  }
})

test("docs/coap-conformance.md has each statement of its list, and none else", (t) => {
  const listed = [...text("test/coap/statements.txt").matchAll(/^(RFC\S+) /gm)].map(([, id]) => id)
  t.is(new Set(listed).size, listed.length)
  const shown = [...text("docs/coap-conformance.md").matchAll(/^\| (RFC\S+) \|/gm)].map(([, id]) => id)
  t.deepEqual(shown, listed)
})
