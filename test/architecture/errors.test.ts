/** The table of error codes against the code that uses them. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import test from "ava"
import { ERROR_CODES, TidegateError } from "../../src/errors.ts"
import { toTidegateError } from "../../src/native/index.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))

function sourceOf(folder: string, ending: string): string {
  const names = readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).filter((name) =>
    name.endsWith(ending),
  )
  return names.map((name) => readFileSync(join(root, folder, name), "utf8")).join("\n")
}

test("every code of the table is used, and none that is not in it", (t) => {
  const typescript = sourceOf("src", ".ts").replace(/export const ERROR_CODES = \{[\s\S]*?\n\}/, "")
  const rust = ["node", "proxy"].map((crate) => sourceOf(`crates/${crate}/src`, ".rs")).join("\n")
  for (const code of Object.keys(ERROR_CODES))
    t.true(typescript.includes(`"${code}"`) || rust.includes(`"${code}"`), `${code} is not used`)
  const native = [...rust.matchAll(/(?:coded|error)\(\s*"([A-Z][A-Z_]+)"|code: "([A-Z][A-Z_]+)"/g)].map(
    ([, a, b]) => a ?? b ?? "",
  )
  for (const code of native) t.true(Object.hasOwn(ERROR_CODES, code), `native uses ${code}`)
})

test("every code has a text and an exit code of the contract", (t) => {
  for (const [code, { exit, text }] of Object.entries(ERROR_CODES)) {
    t.true([1, 2, 70].includes(exit), code)
    t.true(text.length > 10 && !text.endsWith("."), code)
  }
})

test("a coded native error keeps its code, another one says that it has none", (t) => {
  t.is(toTidegateError(new Error("PORT_IN_USE: taken")).code, "PORT_IN_USE")
  t.is(toTidegateError(new Error("PORT_IN_USE: taken")).message, "taken")
  t.is(toTidegateError(new Error("something")).code, "NATIVE_FAILED")
  t.is(toTidegateError(new Error("NO_SUCH_CODE: x")).code, "NATIVE_FAILED")
  const error = new TidegateError("USAGE", "x")
  t.is(toTidegateError(error), error)
})
