// npm run check: what CI asks of every change besides the tests: format, lint, types.
import { join } from "node:path"
import { nativeFeatures, root, run, setup } from "./setup.mjs"

/** Crates that are workspaces of their own. */
const APART = ["bench/load/Cargo.toml", "crates/fuzz/Cargo.toml", "test/defence/hyper/Cargo.toml"]

setup({ native: false, ts: false })
run(process.execPath, [join(root, "node_modules", "@biomejs", "biome", "bin", "biome"), "check", "--error-on-warnings"])
run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.json"])
run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "src/dashboard/tsconfig.json"])
run("cargo", ["fmt", "--all", "--check"])
for (const apart of APART) run("cargo", ["fmt", "--check", "--manifest-path", apart])
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
