// The load tools: wrk for HTTP, our own generator for everything else. Both run on the
// core of the load, and report what they did as an object.
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { CORE, find, output, start } from "./process.mjs"

const ROOT = fileURLToPath(new URL("../../", import.meta.url))
const TARGET = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "load")

/** Builds the generator where it changed; its path. */
export function generator() {
  const manifest = join(ROOT, "bench", "load", "Cargo.toml")
  const args = ["build", "--quiet", "--release", "--locked", "--manifest-path", manifest, "--target-dir", TARGET]
  output("cargo", args)
  return join(TARGET, "release", "tidegate-load")
}

/**
 * Starts the generator; resolves once it is ready. `go()` lets it run (or end what it
 * holds) and gives its result.
 */
export function gated(args) {
  return begun(start(CORE.load, generator(), args, { stdin: "pipe", stdout: "pipe" }))
}

/** The same of a script of Node. */
export function gatedScript(name, args) {
  const path = fileURLToPath(new URL(`./${name}.mjs`, import.meta.url))
  return begun(start(CORE.load, process.execPath, [path, ...args], { stdin: "pipe", stdout: "pipe" }))
}

async function begun(child) {
  const ended = once(child, "close")
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => {
    const { value, done } = await lines.next()
    if (!done) return JSON.parse(value)
    await ended
    throw new Error(child.complaint())
  }
  await next()
  const go = async () => {
    child.stdin.end("\n")
    const result = await next()
    await ended
    return result
  }
  return { go, child }
}

/** Runs wrk with one thread; requests, errors, latencies in microseconds. */
export async function wrk({ port, connections, seconds, script, args = [] }) {
  const lua = fileURLToPath(new URL(`../wrk/${script}.lua`, import.meta.url))
  const url = `http://127.0.0.1:${port}/`
  const words = ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "10s", "-s", lua, url, "--", ...args]
  const child = start(CORE.load, "wrk", words, { stdout: "pipe" })
  let text = ""
  child.stdout.on("data", (bytes) => {
    text += bytes
  })
  await once(child, "close")
  const line = /^result (.*)$/m.exec(text)?.[1]
  if (line === undefined) throw new Error(`${child.complaint()}\n${text}`)
  return JSON.parse(line)
}

/** How to get wrk, if it is not there. */
export function missingWrk() {
  return find("wrk") === undefined ? "apt-get install wrk" : undefined
}
