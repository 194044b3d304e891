#!/usr/bin/env node
// The command `tidegate`, in this process: what is built stands in dist/.
import { existsSync } from "node:fs"

const main = new URL("../dist/cli/main.js", import.meta.url)
if (!existsSync(main)) {
  process.stderr.write("tidegate: dist/ is not built; run: npm run build\n")
  process.exit(2)
}
const { main: run } = await import(main.href)
await run(process.argv)
