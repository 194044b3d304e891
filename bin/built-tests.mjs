// The tests as JavaScript, made in one pass: a transpiler in each of ava's processes costs more
// CPU time than most of the files take. test/x/y.test.ts becomes target/test/x/y.test.js, what
// several share a chunk beside.
import { readdirSync, rmSync } from "node:fs"
import { join, relative, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { builtFile, bundle } from "./bundle.mjs"
import { root } from "./setup.mjs"

const OUT = "target/test"

/** Builds all of them; what it needs may have been installed just before. */
export async function buildTests() {
  const { build } = await import("esbuild")
  rmSync(join(root, OUT), { recursive: true, force: true })
  await build({
    ...bundle((path) => JSON.stringify(pathToFileURL(join(root, builtFile(path))).href)),
    entryPoints: readdirSync(join(root, "test"), { recursive: true })
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => `test/${name}`),
    outdir: OUT,
    outbase: "test",
  })
}

/** test/x/y.test.ts as what was built of it; anything else as it is. */
export function builtTest(argument) {
  const path = relative(root, resolve(root, argument)).replaceAll("\\", "/")
  return /^test\/.*\.test\.ts$/.test(path) ? `${OUT}${path.slice(4, -2)}js` : argument
}
