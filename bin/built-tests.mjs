// The tests as JavaScript, made in one pass: a transpiler in each of ava's processes costs more
// CPU time than most of the files take. test/x/y.test.ts becomes target/test/x/y.test.js, what
// several share a chunk beside. Every file goes on by its own address: that of a test is its
// source's, that of what it tests the one in dist/, so that paths and threads are found.
import { readdirSync, rmSync } from "node:fs"
import { readFile } from "node:fs/promises"
import { join, relative, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { root } from "./setup.mjs"

const OUT = "target/test"

/** Builds all of them; what it needs may have been installed just before. */
export async function buildTests() {
  const { build } = await import("esbuild")
  rmSync(join(root, OUT), { recursive: true, force: true })
  await build({
    absWorkingDir: root,
    entryPoints: readdirSync(join(root, "test"), { recursive: true })
      .filter((name) => name.endsWith(".test.ts"))
      .map((name) => `test/${name}`),
    outdir: OUT,
    outbase: "test",
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    splitting: true,
    packages: "external",
    format: "esm",
    platform: "node",
    target: "node20",
    sourcemap: "linked",
    sourcesContent: false,
    plugins: [{ name: "addresses", setup: keepAddresses }],
    logLevel: "warning",
  })
}

/** test/x/y.test.ts as what was built of it; anything else as it is. */
export function builtTest(argument) {
  const path = relative(root, resolve(root, argument)).replaceAll("\\", "/")
  return /^test\/.*\.test\.ts$/.test(path) ? `${OUT}${path.slice(4, -2)}js` : argument
}

function keepAddresses({ onLoad, onResolve }) {
  onResolve({ filter: /\/dist\// }, ({ path, resolveDir }) => ({
    path: pathToFileURL(join(resolveDir, path)).href,
    external: true,
  }))
  onLoad({ filter: /\.m?[jt]s$/ }, async ({ path }) => {
    const text = await readFile(path, "utf8")
    const built = relative(root, path)
      .replaceAll("\\", "/")
      .replace(/^src\/(.*)\.ts$/, "dist/$1.js")
    const address = JSON.stringify(pathToFileURL(join(root, built)).href)
    return { contents: text.replaceAll("import.meta.url", address), loader: path.endsWith("ts") ? "ts" : "js" }
  })
}
