// Child processes on a chosen core: started, waited for, and ended by their id, however
// the script itself ends.
import { spawn, spawnSync } from "node:child_process"
import { existsSync, mkdtempSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { availableParallelism, tmpdir } from "node:os"
import { delimiter, join } from "node:path"

/** The core of the gateway under test, and the one of load and origin. */
export const CORE = { gateway: 0, load: availableParallelism() > 1 ? 1 : 0 }

const running = new Set()
const folders = new Set()

process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL")
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(130))

/** A path of a program, also of those that only root's PATH has. */
export function find(program) {
  const paths = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"]
  return paths.map((folder) => join(folder, program)).find((path) => existsSync(path))
}

/** An empty folder that goes with this process. */
export function scratch(parent = tmpdir()) {
  const folder = mkdtempSync(join(parent, "tidegate-bench-"))
  folders.add(folder)
  return folder
}

/** Starts a program on one core. Its errors are kept for the message when it dies. */
export function start(core, command, args, { stdin = "ignore", stdout = "ignore", cwd, env } = {}) {
  const pinned = ["-c", String(core), find(command) ?? command, ...args]
  const child = spawn("taskset", pinned, { cwd, env: { ...process.env, ...env }, stdio: [stdin, stdout, "pipe"] })
  running.add(child)
  const errors = []
  child.stderr.on("data", (bytes) => errors.length < 50 && errors.push(bytes))
  child.once("error", (error) => errors.push(String(error)))
  child.once("close", () => running.delete(child))
  child.complaint = () => `${command}: ${errors.join("").trim() || "no message"}`
  return child
}

/** Ends a child, by force if it does not go. */
export async function stop(child) {
  if (!running.has(child)) return
  const gone = new Promise((resolve) => child.once("close", resolve))
  child.kill("SIGTERM")
  const timer = setTimeout(() => child.kill("SIGKILL"), 3_000)
  await gone
  clearTimeout(timer)
}

/** Runs a program to its end; its standard output. */
export function output(command, args, options = {}) {
  const path = find(command) ?? command
  const { status, stdout, stderr, error } = spawnSync(path, args, { encoding: "utf8", ...options })
  if (error !== undefined || status !== 0) throw new Error(`${command}: ${error ?? stderr.trim()}`)
  return stdout + stderr
}

/** A port that was free just now. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject)
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** Waits until something listens. */
export async function listening(port, child) {
  for (const until = Date.now() + 10_000; Date.now() < until; ) {
    if (await connects(port)) return
    if (!running.has(child)) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`nothing listens on port ${port}; ${child.complaint()}`)
}

function connects(port) {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("error", () => resolve(false))
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
  })
}
