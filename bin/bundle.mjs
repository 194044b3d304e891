// Makes dist/ of src/, behind tsc, which makes the types: few large files in place of some six
// hundred small ones of ours and of packages, since opening and compiling those was a third of a start.
// A module goes on by the address that it would have in dist/, so that files and threads are found.
import { readFileSync } from "node:fs"
import { createRequire } from "node:module"
import { join, relative } from "node:path"
import { pathToFileURL } from "node:url"
import { root } from "./setup.mjs"

/** Packages that are put into the files; the others have native parts, or few need them. */
const WITHIN = ["@fastify/swagger", "ajv", "commander", "fastify", "pino", "prom-client", "typebox", "yaml"]

/** What is loaded by its address: the package's exports, the command, threads, and what bench/ and docs/ look into. */
const ENTRIES = [
  "cli/main",
  "codec",
  "config/document-thread",
  "config/schema/index",
  "config/schema/numbers",
  "config/shape",
  "errors",
  "gateway/policy-thread",
  "index",
  "native/event-ring",
  "native/fake-ring",
  "native/index",
  "policy/index",
  "testing",
]

/** A file with modules of CommonJS in it needs `require`. */
const REQUIRE = `import { createRequire as requireOf } from "node:module"; const require = requireOf(import.meta.url);`

/** esbuild's options for files that Node loads; `addressOf` says as an expression where a source file believes to be. */
export function bundle(addressOf, banner = "") {
  return {
    absWorkingDir: root,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    chunkNames: "chunks/[name]-[hash]",
    sourcemap: "linked",
    sourcesContent: false,
    legalComments: "none",
    // An error tells its kind by the name of its class.
    keepNames: true,
    banner: { js: REQUIRE + banner },
    plugins: [
      { name: "packages", setup: leaveOut },
      { name: "addresses", setup: (hooks) => keepAddresses(hooks, addressOf) },
    ],
    logLevel: "warning",
  }
}

/** Packages stay where they are, but for those that are to be within, and what these need. */
function leaveOut({ onResolve }) {
  onResolve({ filter: /^[^./]/ }, ({ path, importer, kind }) => {
    if (kind === "entry-point" || importer.includes("node_modules")) return undefined
    const within = WITHIN.some((name) => path === name || path.startsWith(`${name}/`))
    return within ? undefined : { path, external: true }
  })
}

function keepAddresses({ onLoad }, addressOf) {
  onLoad({ filter: /\.m?[jt]s$/ }, ({ path }) => {
    if (path.includes("node_modules")) return undefined
    const text = readFileSync(path, "utf8")
    return { contents: text.replaceAll("import.meta.url", addressOf(path)), loader: path.endsWith("ts") ? "ts" : "js" }
  })
}

/** Where in dist/ a file of src/ would be. */
export function builtFile(path) {
  return relative(root, path)
    .replaceAll("\\", "/")
    .replace(/^src\/(.*)\.ts$/, "dist/$1.js")
}

/** The check of the configuration's schema, which Ajv compiles for more than a second: once, here. */
async function buildValidator(build) {
  const require = createRequire(import.meta.url)
  const { Ajv } = require("ajv")
  const { default: standaloneCode } = require("ajv/dist/standalone")
  const built = (file) => import(pathToFileURL(join(root, "dist", "config", file)).href)
  const { AJV_OPTIONS, fingerprint } = await built("shape.js")
  const { ConfigSchema } = await built("schema/index.js")
  const ajv = new Ajv({ ...AJV_OPTIONS, code: { source: true } })
  const code = standaloneCode(ajv, ajv.compile(ConfigSchema))
  const contents = `${code}\nmodule.exports = { check: module.exports, fingerprint: "${fingerprint()}" }`
  await build({
    absWorkingDir: root,
    stdin: { contents, resolveDir: root },
    outfile: "dist/config/validator.cjs",
    bundle: true,
    minify: true,
    format: "cjs",
    platform: "node",
    logLevel: "warning",
  })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const { build } = await import("esbuild")
  const dist = `const tidegateDist = import.meta.url.slice(0, import.meta.url.lastIndexOf("/dist/") + 1);`
  await build({
    ...bundle((path) => `(tidegateDist + ${JSON.stringify(builtFile(path))})`, dist),
    entryPoints: ENTRIES.map((name) => `src/${name}.ts`),
    outdir: "dist",
    outbase: "src",
  })
  await buildValidator(build)
}
