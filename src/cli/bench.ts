/** tidegate bench: the native and the JavaScript paths side by side, on this machine. */
import { existsSync } from "node:fs"
import { fileURLToPath } from "node:url"
import type { Command } from "commander"
import { TidegateError } from "../errors.ts"
import { example } from "./options.ts"

interface Options {
  readonly json?: string
}

interface Bench {
  readonly runBench: (names: readonly string[], options: Options) => Promise<void>
}

export function addBench(program: Command): void {
  const command = program
    .command("bench")
    .description("compare native and JavaScript paths on this machine")
    .argument("[names...]", "codec, boundary, proxy, policy; default: all")
    .option("--json <file>", "also write the results as JSON")
    .action(bench)
  example(command, "tidegate bench codec --json bench.json")
}

async function bench(names: readonly string[], options: Options): Promise<void> {
  const entry = new URL("../../bench/run.mjs", import.meta.url)
  if (!existsSync(fileURLToPath(entry))) {
    throw new TidegateError(
      "NOT_AVAILABLE",
      "the benchmarks stand in the repository, not in the package; clone it to run them",
    )
  }
  const { runBench } = (await import(entry.href)) as Bench
  await runBench(names, options)
}
