// Bundles src/dashboard into dist/dashboard: one script and one style sheet.
import { build } from "esbuild"
import { root } from "./setup.mjs"

await build({
  absWorkingDir: root,
  entryPoints: ["src/dashboard/main.tsx"],
  outdir: "dist/dashboard",
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
})
