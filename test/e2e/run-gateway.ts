/**
 * Runs the real command on a free port with a config, and the foreign programs that
 * the tests talk to it with. A program that is not installed fails in CI and skips
 * elsewhere, with its name.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type RequestListener, type Server } from "node:http"
import { type AddressInfo, connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"

const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))

/** A gateway under test. */
export interface Running {
  readonly port: number
  readonly udpPort: number
  readonly admin: string
  readonly folder: string
  readonly process: ChildProcess
  readonly output: () => string
  /** Writes the config anew; the gateway watches it. Text is TypeScript. */
  configure(config: object | string): void
  stop(): Promise<number | null>
}

/** Listeners on free ports: one TCP, one UDP. */
export const listeners = [
  { address: "tcp://127.0.0.1:0", protocols: "detect" },
  { address: "udp://127.0.0.1:0", protocols: ["coap"] },
]

/** Starts the gateway; what the config leaves out are two workers and free ports. Text is a whole TypeScript config. */
export async function runGateway(config: object | string = {}): Promise<Running> {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-e2e-"))
  const file = join(folder, `tidegate.config.${typeof config === "string" ? "ts" : "json"}`)
  const defaults = { workers: 2, admin: { address: "127.0.0.1:0" }, listeners }
  const whole = (given: object | string): string =>
    typeof given === "string" ? given : JSON.stringify({ ...defaults, ...given })
  writeFileSync(file, whole(config))
  const process_ = spawn(process.execPath, [command, "run", "--config", file], { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  process_.stdout.on("data", (data) => {
    output += data
  })
  process_.stderr.on("data", (data) => {
    output += data
  })
  const end = Date.now() + 20_000
  while (!/listening .*admin/.test(output)) {
    if (process_.exitCode !== null || Date.now() > end) {
      process_.kill("SIGKILL")
      rmSync(folder, { recursive: true, force: true })
      throw new Error(`the gateway did not start:\n${output}`)
    }
    await sleep(10)
  }
  const find = (pattern: RegExp): string => pattern.exec(output)?.[1] ?? "0"
  return {
    port: Number(find(/tcp:\/\/127\.0\.0\.1:(\d+)/)),
    udpPort: Number(find(/udp:\/\/127\.0\.0\.1:(\d+)/)),
    admin: find(/admin (https?:\/\/[^\s]+)/),
    folder,
    process: process_,
    output: () => output,
    configure: (next) => writeFileSync(file, whole(next)),
    stop: async () => {
      if (process_.exitCode === null && process_.signalCode === null) {
        process_.kill("SIGTERM")
        const timer = setTimeout(() => process_.kill("SIGKILL"), 10_000)
        await once(process_, "exit")
        clearTimeout(timer)
      }
      rmSync(folder, { recursive: true, force: true })
      return process_.exitCode
    },
  }
}

/** An HTTP upstream on a free port. */
export async function upstream(listener: RequestListener): Promise<{ server: Server; address: string }> {
  const server = createServer(listener).listen(0, "127.0.0.1")
  await once(server, "listening")
  return { server, address: `127.0.0.1:${(server.address() as AddressInfo).port}` }
}

/** Sends bytes on a new connection and collects what comes until it closes or `until` matches. */
export async function exchange(port: number, bytes: string | Buffer, until?: RegExp): Promise<string> {
  const socket = connect(port, "127.0.0.1")
  socket.write(bytes)
  const answer = await collect(socket, until)
  socket.destroy()
  return answer
}

/** Collects what a socket brings until it closes or `until` matches; five seconds at most. */
export async function collect(socket: Socket, until?: RegExp): Promise<string> {
  let text = ""
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(`${text}<timeout>`), 5_000)
    const done = (): void => {
      clearTimeout(timer)
      resolve(text)
    }
    socket.on("data", (data) => {
      text += data.toString("latin1")
      if (until?.test(text)) done()
    })
    socket.on("close", done)
    socket.on("error", done)
  })
}

/** Whether a program is there; throws in CI, where it must be. */
export function has(program: string, apt: string): boolean {
  const found = spawnSync("which", [program]).status === 0
  if (!found && process.env.CI) throw new Error(`${program} is missing; install it with: apt-get install ${apt}`)
  return found
}

/** Runs a program to its end. */
export async function run(
  program: string,
  args: readonly string[],
  timeoutMs = 10_000,
): Promise<{ code: number | null; out: string }> {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] })
  let out = ""
  child.stdout.on("data", (data) => {
    out += data
  })
  child.stderr.on("data", (data) => {
    out += data
  })
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs)
  // At "exit" some of its output may still be on its way.
  const [code] = (await once(child, "close")) as [number | null]
  clearTimeout(timer)
  return { code, out }
}

/** Starts a program and waits for words in its output on demand. */
export function start(
  program: string,
  args: readonly string[],
): { child: ChildProcess; out: () => string; saw: (pattern: RegExp) => Promise<boolean> } {
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] })
  let out = ""
  child.stdout.on("data", (data) => {
    out += data
  })
  child.stderr.on("data", (data) => {
    out += data
  })
  const saw = async (pattern: RegExp): Promise<boolean> => {
    for (const end = Date.now() + 8_000; Date.now() < end; await sleep(20)) if (pattern.test(out)) return true
    return false
  }
  return { child, out: () => out, saw }
}
