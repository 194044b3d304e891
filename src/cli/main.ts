/** The command `tidegate`: one file per command, this one only names them. */
import { readFileSync } from "node:fs"
import { Command } from "commander"
import { report } from "./output.ts"

/** One file per command, loaded only when it is asked for: a short command should not pay for the others. */
const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  run: async () => (await import("./run.ts")).addRun,
  init: async () => (await import("./init.ts")).addInit,
  check: async () => (await import("./check.ts")).addCheck,
  config: async () => (await import("./config.ts")).addConfig,
  explain: async () => (await import("./explain.ts")).addExplain,
  top: async () => (await import("./top.ts")).addTop,
  mqtt: async () => (await import("./mqtt.ts")).addMqtt,
  optimizer: async () => (await import("./optimizer.ts")).addOptimizer,
  services: async () => (await import("./services.ts")).addServices,
  bench: async () => (await import("./bench.ts")).addBench,
  passwd: async () => (await import("./passwd.ts")).addPasswd,
  encrypt: async () => (await import("./encrypt.ts")).addEncrypt,
  cert: async () => (await import("./cert.ts")).addCert,
}

/** The program with one command, or with all of them. */
export async function createProgram(name = ""): Promise<Command> {
  const program = new Command("tidegate")
    .description("The IoT gateway: MQTT, CoAP, HTTP and WebSocket on one port")
    .version(
      (JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string }).version,
    )
    .showHelpAfterError()
    .exitOverride()
  const asked = COMMANDS[name]
  for (const load of asked === undefined ? Object.values(COMMANDS) : [asked]) (await load())(program)
  return program
}

/** Runs the command line; sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that has seen enough, `| head`, is no fault.
  process.stdout.on("error", ({ code }: NodeJS.ErrnoException) => process.exit(code === "EPIPE" ? 0 : 2))
  const program = await createProgram(argv[2])
  try {
    await program.parseAsync([...argv])
  } catch (error) {
    process.exitCode = isCommander(error) ? Math.min(1, error.exitCode) : report(error)
  }
}

function isCommander(error: unknown): error is Error & { exitCode: number } {
  return error instanceof Error && "exitCode" in error && error.name === "CommanderError"
}
