// npm run check: what CI asks of every change besides the tests: format, lint, types.
import { join } from "node:path"
import { nativeFeatures, root, run, setup } from "./setup.mjs"

setup({ native: false, ts: false })
run(process.execPath, [join(root, "node_modules", "@biomejs", "biome", "bin", "biome"), "check", "--error-on-warnings"])
run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.json"])
run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "src/dashboard/tsconfig.json"])
run("cargo", ["fmt", "--all", "--check"])
const features = nativeFeatures("tidegate-proxy")
run("cargo", [
  "clippy",
  "--quiet",
  "--workspace",
  "--all-targets",
  "--profile",
  "ci",
  ...features,
  "--",
  "-D",
  "warnings",
])
