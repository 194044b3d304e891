/**
 * The addon in threads that end and in processes that exit: native threads and shared
 * memory are let go of in time, whatever runs at that moment. Each in a process of its own.
 */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import test from "ava"
import { withAddon } from "../gateway/with-addon.ts"

interface End {
  readonly code: number | null
  readonly signal: string | null
  readonly out: string
}

/** Runs a program of this folder to its end; one that hangs is killed, which the signal shows. */
async function end(program: string, env: Record<string, string> = {}): Promise<End> {
  const file = fileURLToPath(new URL(`./programs/${program}`, import.meta.url))
  const child = spawn(process.execPath, [file], { env: { ...process.env, NODE_OPTIONS: "", ...env } })
  let out = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      out += data
    })
  }
  const timer = setTimeout(() => child.kill("SIGKILL"), 90_000)
  const [code, signal] = (await once(child, "close")) as [number | null, string | null]
  clearTimeout(timer)
  return { code, signal, out }
}

withAddon("twenty threads that are terminated in mid-traffic take nothing along", async (t) => {
  t.deepEqual(await end("threads.mjs"), { code: 0, signal: null, out: "all twenty are gone\n" })
})

withAddon("a process that exits in mid-traffic exits with its own code", async (t) => {
  t.deepEqual(await end("exit.mjs"), { code: 7, signal: null, out: "" })
})

test("without the addon the error says what was looked for and what to run", async (t) => {
  const { code, out } = await end("missing.mjs", { TIDEGATE_NATIVE: "/nowhere/tidegate.node" })
  t.is(code, 2)
  t.regex(out, /^NATIVE_MISSING 2 /)
  t.regex(out, /no native addon for \S+ \(Node v\S+\); looked for: \/nowhere\/tidegate\.node \(not there\)/)
  t.regex(out, /npm (run build:native|install tidegate)/)
})
