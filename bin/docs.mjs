// npm run docs: the documentation as a site, in docs/.vitepress/dist. Its tools are a workspace of their own, so
// that nobody who builds the gateway installs them. Dead links end it with 1. `--dev` serves it while it is written.
import { existsSync } from "node:fs"
import { join } from "node:path"
import { root, run, setup } from "./setup.mjs"

const docs = join(root, "docs")
setup({ native: false })
run(process.execPath, [join(docs, "generate.mjs")])
const tools = join(docs, "node_modules", "vitepress")
if (!existsSync(tools)) run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], { cwd: docs })
run("npm", ["run", "--silent", process.argv.includes("--dev") ? "dev" : "build"], { cwd: docs })
