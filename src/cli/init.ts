/** tidegate init: a first configuration that runs. */
import { existsSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import type { Command } from "commander"
import { TidegateError } from "../errors.ts"
import { makeFolder } from "../make-folder.ts"
import { example } from "./options.ts"
import { print } from "./output.ts"

const TYPESCRIPT = `import { defineConfig, path, respond, topic, toTopic } from "tidegate"

export default defineConfig({
  listeners: [
    { address: "tcp://127.0.0.1:7000", protocols: "detect" },
    { address: "udp://127.0.0.1:5683", protocols: ["coap"] },
  ],
  upstreams: {
    // api: { endpoints: ["127.0.0.1:9000"], balance: "roundRobin", health: { http: "/healthz" } },
  },
  routes: [
    { when: path("/ping"), to: respond(200, "pong\\n") },
    { when: topic("plant/+/temp"), to: toTopic("archive/{topic}") },
  ],
})
`

const YAML = `# Check it with: tidegate check
listeners:
  - { address: "tcp://127.0.0.1:7000", protocols: detect }
  - { address: "udp://127.0.0.1:5683", protocols: [coap] }
upstreams: {}
#  api: { endpoints: ["127.0.0.1:9000"], balance: roundRobin, health: { http: /healthz } }
routes:
  - { when: { path: /ping }, to: { respond: { status: 200, body: "pong\\n" } } }
  - { when: { topic: plant/+/temp }, to: { topic: "archive/{topic}" } }
`

interface Options {
  readonly yaml?: boolean
}

export function addInit(program: Command): void {
  const command = program
    .command("init")
    .description("write a first configuration")
    .argument("[dir]", "where", ".")
    .option("--yaml", "YAML instead of TypeScript")
    .action(init)
  example(command, "tidegate init my-gateway")
}

function init(dir: string, { yaml }: Options): void {
  const folder = resolve(dir)
  const file = join(folder, yaml ? "tidegate.config.yaml" : "tidegate.config.ts")
  if (existsSync(file)) throw new TidegateError("FILE_EXISTS", `${file} already exists; nothing was written`)
  makeFolder(folder)
  writeFileSync(file, yaml ? YAML : TYPESCRIPT, { flag: "wx" })
  const command = process.env.npm_command === "exec" ? "npx tidegate" : "tidegate"
  print(`${file} is written; next: ${dir === "." ? "" : `cd ${dir} && `}${command} run`)
}
