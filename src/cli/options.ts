/** Options that several commands share. */
import type { Command } from "commander"

/** `--config`, `--admin`, `--token` and `--json` for a command that talks to a running gateway. */
export function withAdmin(command: Command): Command {
  return command
    .option("-c, --config <file>", "configuration file that says where the gateway is")
    .option("--admin <url>", "admin address of the gateway")
    .option("--token <token>", "bearer token; default: TIDEGATE_TOKEN")
    .option("--ca <file>", "whom to believe, where the admin API speaks TLS")
    .option("--cert <file>", "certificate to show, with --key")
    .option("--key <file>", "its private key")
    .option("--json", "print JSON")
}

export function example(command: Command, ...lines: readonly string[]): Command {
  return command.addHelpText("after", `\nExample:\n${lines.map((line) => `  ${line}`).join("\n")}`)
}
