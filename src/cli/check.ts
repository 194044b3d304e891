/** tidegate check: every problem of a configuration, one line each. */
import type { Command } from "commander"
import { ERROR_CODES, TidegateError } from "../errors.ts"
import { complain, formatProblem, print, printJson } from "./output.ts"

interface Options {
  readonly config?: string
  readonly json?: boolean
}

export function addCheck(program: Command): void {
  program
    .command("check")
    .description("check a configuration: exit 0, or 1 with every problem on its own line")
    .option("-c, --config <file>", "configuration file")
    .option("--json", "problems as JSON")
    .addHelpText("after", "\nExample:\n  tidegate check --config tidegate.config.ts")
    .action(async (options: Options) => {
      process.exitCode = await check(options)
    })
}

async function check(options: Options): Promise<number> {
  const { findConfig, loadConfig } = await import("../config/index.ts")
  let file: string | null = null
  try {
    file = findConfig(options.config)
    const { warnings } = await loadConfig(options.config)
    if (options.json) printJson({ file, ok: true, problems: warnings })
    else {
      for (const warning of warnings) complain(formatProblem(warning, file))
      print(`${file ?? "no configuration file, the defaults"}: no problems`)
    }
    return 0
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error
    const problems = error.problems.length > 0 ? error.problems : [{ path: "", message: error.message }]
    if (options.json) printJson({ file, ok: false, problems })
    else for (const problem of problems) print(formatProblem(problem, file ?? options.config ?? null))
    return ERROR_CODES[error.code].exit
  }
}
