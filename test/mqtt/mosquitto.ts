/** A mosquitto broker on a free port, for what proxies and bridges to it. Not installed: fails in CI, skips elsewhere. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { ExecutionContext } from "ava"
import { freePort } from "../free-port.mjs"

export interface Mosquitto {
  readonly port: number
  /** Ends it; `start` begins it anew on the same port. */
  stop(): Promise<void>
  start(): Promise<void>
}

export const hasMosquitto = spawnSync("mosquitto", ["-h"]).error === undefined

/** Ends when the test does; `lines` go into its configuration. */
export async function mosquitto(t: ExecutionContext<unknown>, lines: readonly string[] = []): Promise<Mosquitto> {
  if (!hasMosquitto) throw new Error("mosquitto is not installed: apt-get install mosquitto")
  const folder = mkdtempSync(join(tmpdir(), "mosquitto-"))
  const port = await freePort()
  const file = join(folder, "mosquitto.conf")
  writeFileSync(
    file,
    `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n${lines.join("\n")}\n`,
  )
  let child: ChildProcess | null = null
  const broker: Mosquitto = {
    port,
    async start() {
      child = spawn("mosquitto", ["-c", file], { stdio: "ignore" })
      for (const end = Date.now() + 5_000; !(await answers(port)); await sleep(20)) {
        if (Date.now() > end) throw new Error("mosquitto does not listen")
      }
    },
    async stop() {
      if (child === null || child.exitCode !== null) return
      const gone = once(child, "exit")
      child.kill("SIGTERM")
      await gone
      child = null
    },
  }
  t.teardown(async () => {
    await broker.stop()
    rmSync(folder, { recursive: true, force: true })
  })
  await broker.start()
  return broker
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1")
  const opened = await Promise.race([
    once(socket, "connect").then(() => true),
    once(socket, "error").then(() => false),
  ]).catch(() => false)
  socket.destroy()
  return opened
}
