/** Every file opens with what it is, and no file does too much. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import test from "ava"

const root = fileURLToPath(new URL("../../", import.meta.url))

function files(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending) && !name.includes("node_modules") && !name.includes("target/"))
    .map((name) => join(folder, name))
}

/** What a tool wrote, by its own style. */
const isGenerated = (file: string): boolean => file.endsWith("_pb.ts")

const text = (file: string): string => readFileSync(join(root, file), "utf8")

test("every TypeScript file opens with what it is", (t) => {
  const written = [...files("src", ".ts"), ...files("test", ".ts")].filter((file) => !isGenerated(file))
  for (const file of written) t.regex(text(file), /^\/\*\*/, file)
})

test("every Rust file opens with what it is", (t) => {
  for (const file of files("crates", ".rs")) t.regex(text(file), /^(\/\/!|#!\[)/, file)
})

test("no TypeScript file is longer than a reader's patience, specification tables aside", (t) => {
  for (const file of files("src", ".ts")) {
    if (file === "src/native/plan.ts" || isGenerated(file)) continue
    t.true(text(file).split("\n").length <= 230, `${file} is too long`)
  }
})

test("no name says nothing: utils, helpers, common, manager", (t) => {
  for (const file of [...files("src", ".ts"), ...files("crates", ".rs")]) {
    t.notRegex(file, /(^|[/_-])(utils?|helpers?|common|manager)([/._-]|$)/, file)
  }
})
