/** What the release workflow builds is what is packed, for the oldest C library that is promised. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import test from "ava"
import { parse } from "yaml"

const read = (name: string): string => readFileSync(fileURLToPath(new URL(`../../${name}`, import.meta.url)), "utf8")

interface Built {
  readonly name: string
  readonly target: string
  readonly features?: string
}

const { jobs } = parse(read(".github/workflows/release.yml")) as {
  jobs: { addon: { strategy: { matrix: { include: readonly Built[] } } } }
}
const built = jobs.addon.strategy.matrix.include

test("an addon is built for each platform that is packed", (t) => {
  const [, platforms = ""] = /PLATFORMS = \{\n([\s\S]*?)\n\}/.exec(read("bin/pack.mjs")) ?? []
  t.deepEqual(
    built.map(({ name }) => name),
    [...platforms.matchAll(/^ {2}"([^"]+)":/gm)].map(([, name]) => name),
  )
})

test("each addon for glibc is built for 2.17", (t) => {
  const glibc = built.filter(({ name }) => /^linux-.*gnu/.test(name))
  t.is(glibc.length, 3)
  for (const { target } of glibc) t.regex(target, /\.2\.17$/)
})

test("the documentation names the addons that have DTLS", (t) => {
  const names = built.filter(({ features }) => features === "dtls").map(({ name }) => name)
  t.true(names.includes("linux-x64-gnu"))
  t.true(
    read("docs/coap.md").includes(`of the published addons ${names.map((name) => `\`${name}\``).join(", ")} has it`),
  )
})
