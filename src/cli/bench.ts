/** tidegate bench: the native and the JavaScript paths side by side, on this machine. */
import type { Command } from "commander"
import { messageOf, TidegateError } from "../errors.ts"
import { example } from "./options.ts"

/** What the package does not bring along: it is needed to compare, not to run. */
const PEERS = ["tinybench", "mqtt-packet", "coap-packet", "fastify", "@fastify/http-proxy"]

interface Options {
  readonly json?: string
  readonly html?: string
  readonly quick?: boolean
}

interface Bench {
  readonly benches: () => readonly string[]
  readonly runBench: (names: readonly string[], options: Options) => Promise<void>
}

export function addBench(program: Command): void {
  const command = program
    .command("bench")
    .description("compare native and JavaScript paths on this machine")
    .argument(
      "[names...]",
      "codec, boundary, proxy, policy (the default); in a clone also http, broker, coap, ladder, memory, storm, syscalls",
    )
    .option("--json <file>", "also write the results as JSON")
    .option("--html <file>", "also write them as a page with plots")
    .option("--quick", "shows that it works; the figures mean nothing")
    .action(bench)
  example(command, "tidegate bench codec --json bench.json")
}

async function bench(names: readonly string[], options: Options): Promise<void> {
  try {
    const { benches, runBench } = (await import(new URL("../../bench/run.mjs", import.meta.url).href)) as Bench
    const unknown = names.find((name) => !benches().includes(name))
    if (unknown !== undefined)
      throw new TidegateError("USAGE", `there is no bench "${unknown}" here; there are ${benches().join(", ")}`)
    await runBench(names, options)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ERR_MODULE_NOT_FOUND") throw error
    throw new TidegateError("MODULE_MISSING", `a package to compare with is missing: ${messageOf(error)}`, {
      hint: `install what the benchmarks need with: npm install --no-save ${PEERS.join(" ")}`,
    })
  }
}
