// What a start would make again each time is made once, after tsc: the check of the configuration's
// schema, which Ajv compiles for more than a second, and TypeBox as one file instead of 370.
import { createRequire } from "node:module"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { build } from "esbuild"
import { root } from "./setup.mjs"

const require = createRequire(import.meta.url)
const { Ajv } = require("ajv")
const { default: standaloneCode } = require("ajv/dist/standalone")

const common = { absWorkingDir: root, bundle: true, minify: true, platform: "node", logLevel: "warning" }

await build({ ...common, entryPoints: [require.resolve("typebox")], outfile: "dist/typebox.js", format: "esm" })

const built = (file) => import(pathToFileURL(join(root, "dist", "config", file)).href)
const { AJV_OPTIONS, fingerprint } = await built("shape.js")
const { ConfigSchema } = await built("schema/index.js")
const ajv = new Ajv({ ...AJV_OPTIONS, code: { source: true } })
const code = standaloneCode(ajv, ajv.compile(ConfigSchema))
await build({
  ...common,
  stdin: {
    contents: `${code}\nmodule.exports = { check: module.exports, fingerprint: "${fingerprint()}" }`,
    resolveDir: root,
  },
  outfile: "dist/config/validator.cjs",
  format: "cjs",
})
