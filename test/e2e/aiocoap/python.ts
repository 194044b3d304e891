/** Programs in Python on aiocoap, which is installed beside the packages of Node at the first use. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const folder = fileURLToPath(new URL("../../../node_modules/.cache/aiocoap", import.meta.url))
const PACKAGES = ["aiocoap==0.4.17", "LinkHeader", "cbor2", "cryptography", "filelock", "ge25519", "lakers-python"]

/** Whether there is a Python with pip; throws in CI, where it must be. */
export function hasAiocoap(): boolean {
  const found = spawnSync("python3", ["-m", "pip", "--version"]).status === 0
  if (!found && process.env.CI)
    throw new Error("python3 with pip is missing; install it with: apt-get install python3-pip")
  if (found && !existsSync(folder)) {
    const { status, stderr } = spawnSync("python3", ["-m", "pip", "install", "-q", "--target", folder, ...PACKAGES])
    if (status !== 0) throw new Error(`aiocoap cannot be installed: ${stderr}`)
  }
  return found
}

/** A program that is told what to do by lines. */
export interface Python {
  readonly child: ChildProcess
  readonly out: () => string
  /** Sends a line and waits for words in what comes. */
  tell(line: string, answer: RegExp, timeoutMs?: number): Promise<boolean>
}

/** Starts a program of this folder. */
export function python(program: string, args: readonly string[]): Python {
  const child = spawn("python3", [fileURLToPath(new URL(program, import.meta.url)), ...args], {
    env: { ...process.env, PYTHONPATH: join(folder) },
    stdio: ["pipe", "pipe", "pipe"],
  })
  let out = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (data) => {
      out += data
    })
  }
  const tell = async (line: string, answer: RegExp, timeoutMs = 15_000): Promise<boolean> => {
    if (line !== "") child.stdin.write(`${line}\n`)
    for (const end = Date.now() + timeoutMs; Date.now() < end; await sleep(20)) if (answer.test(out)) return true
    return false
  }
  return { child, out: () => out, tell }
}
