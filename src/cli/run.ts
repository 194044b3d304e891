/** tidegate run: the gateway with its admin API, until a signal. */
import type { Command } from "commander"
import { findConfig, loadConfig } from "../config/index.ts"
import { createLoadedGateway } from "../gateway/index.ts"
import { complain, formatProblem, print } from "./output.ts"

interface Options {
  readonly config?: string
}

export function addRun(program: Command): void {
  program
    .command("run", { isDefault: true })
    .description("run the gateway")
    .option("-c, --config <file>", "configuration file")
    .addHelpText("after", "\nExample:\n  tidegate run --config tidegate.config.ts\n\nSIGTERM drains, a second one exits now, SIGHUP reloads.")
    .action((options: Options) => run(options))
}

async function run({ config: named }: Options): Promise<void> {
  const file = findConfig(named)
  const loaded = await loadConfig(named)
  for (const warning of loaded.warnings) complain(formatProblem(warning, file))
  const gateway = createLoadedGateway(loaded)
  await gateway.start()
  const addresses = gateway.stats().listeners.map(({ name, address }) => `${name.startsWith("udp") ? "udp" : "tcp"}://${address}`)
  print(`listening ${addresses.join(" ")}`)
  let signals = 0
  const stop = async (): Promise<void> => {
    if (signals++ > 0) process.exit(1)
    await gateway.drain()
    await gateway.close()
    process.exit(0)
  }
  process.on("SIGTERM", () => void stop())
  process.on("SIGINT", () => void stop())
}
