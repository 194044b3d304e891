/**
 * command: a program that exits with 0 in time. Started without a shell; `{host}` and
 * `{port}` in its arguments stand for the endpoint.
 */
import { spawn } from "node:child_process"
import type { Check } from "./check.ts"

export const commandCheck: Check = ({ host, port }, { command, timeoutMs }) =>
  new Promise((resolve) => {
    const [program = "", ...rest] = command
    const args = rest.map((argument) => argument.replaceAll("{host}", host).replaceAll("{port}", String(port)))
    const child = spawn(program, args, { stdio: "ignore", timeout: timeoutMs, killSignal: "SIGKILL" })
    child.on("error", () => resolve(false))
    child.on("exit", (code) => resolve(code === 0))
  })
