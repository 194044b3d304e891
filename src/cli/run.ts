/** tidegate run. */
import type { Command } from "commander"
import { example } from "./options.ts"
import type { ServeOptions } from "./serve.ts"

export function addRun(program: Command): void {
  const command = program
    .command("run")
    .description("run the gateway")
    .option(
      "-c, --config <file>",
      "configuration file; default: the first tidegate.config.{ts,mts,js,mjs,yaml,yml,json}",
    )
    .option("--last-good", "start with the last good configuration where the file is broken")
    .action(async (options: ServeOptions) => (await import("./serve.ts")).serve(options))
  example(command, "tidegate run --config tidegate.config.ts")
  command.addHelpText("after", "\nSIGTERM and SIGINT drain, a second one exits at once, SIGHUP reloads the file.")
}
