/** The command `tidegate`: one file per command, this one only names them. */
import { readFileSync } from "node:fs"
import { Command } from "commander"
import { addBench } from "./bench.ts"
import { addCert } from "./cert.ts"
import { addCheck } from "./check.ts"
import { addConfig } from "./config.ts"
import { addExplain } from "./explain.ts"
import { addInit } from "./init.ts"
import { addMqtt } from "./mqtt.ts"
import { report } from "./output.ts"
import { addPasswd } from "./passwd.ts"
import { addRun } from "./run.ts"
import { addServices } from "./services.ts"

const COMMANDS = [addRun, addInit, addCheck, addConfig, addExplain, addMqtt, addServices, addBench, addPasswd, addCert]

/** Runs the command line; sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const program = new Command("tidegate")
    .description("The IoT gateway: MQTT, CoAP, HTTP and WebSocket on one port")
    .version(
      (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }).version,
    )
    .showHelpAfterError()
    .exitOverride()
  for (const add of COMMANDS) add(program)
  try {
    await program.parseAsync([...argv])
  } catch (error) {
    process.exitCode = isCommander(error) ? Math.min(1, error.exitCode) : report(error, fileOf(argv))
  }
}

/** The file that problems are about. */
function fileOf(argv: readonly string[]): string | null {
  const at = argv.findIndex((word) => word === "--config" || word === "-c")
  return at === -1 ? null : (argv[at + 1] ?? null)
}

function isCommander(error: unknown): error is Error & { exitCode: number } {
  return error instanceof Error && "exitCode" in error && error.name === "CommanderError"
}
