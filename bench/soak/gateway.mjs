// The gateway under test as a process of its own, and what it says of itself.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))

export class GatewayProcess {
  #child = null
  #ports = null
  errors = ""

  /** `config` gets fixed ports at the first start, so that clients find the gateway again after a kill. */
  constructor(config) {
    this.folder = mkdtempSync(join(tmpdir(), "tidegate-soak-"))
    this.file = join(this.folder, "tidegate.config.json")
    this.config = config
  }

  async start() {
    this.write(this.config)
    const args = [command, "run", "--config", this.file]
    this.#child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] })
    this.#child.stderr.on("data", (bytes) => {
      this.errors = (this.errors + bytes).slice(-20_000)
    })
    let out = ""
    for await (const bytes of this.#child.stdout) {
      out += bytes
      if (/listening .*admin \S+\n/.test(out)) break
    }
    if (!/listening/.test(out)) throw new Error(`the gateway did not start: ${this.errors}`)
    this.#child.stdout.resume()
    const find = (pattern) => Number(pattern.exec(out)?.[1] ?? 0)
    this.port = find(/tcp:\/\/127\.0\.0\.1:(\d+)/)
    this.udpPort = find(/udp:\/\/127\.0\.0\.1:(\d+)/)
    this.admin = /admin (\S+)/.exec(out)?.[1]
    this.#ports ??= { tcp: this.port, udp: this.udpPort, admin: new URL(this.admin).port }
  }

  get pid() {
    return this.#child.pid
  }

  /** Writes the configuration, with the ports of the first start. */
  write(config) {
    const { tcp, udp, admin } = this.#ports ?? { tcp: 0, udp: 0, admin: 0 }
    const listeners = [
      { address: `tcp://127.0.0.1:${tcp}` },
      { address: `udp://127.0.0.1:${udp}`, protocols: ["coap"] },
    ]
    const whole = { workers: 2, admin: { address: `127.0.0.1:${admin}` }, listeners, log: { level: "warn" }, ...config }
    writeFileSync(this.file, JSON.stringify(whole))
  }

  async call(path, init) {
    const response = await fetch(`${this.admin}${path}`, init)
    const text = await response.text()
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`)
    return text
  }

  /** Sums of all series of a metric, by one label. */
  async metrics() {
    const text = await this.call("/metrics")
    const sums = new Map()
    for (const line of text.split("\n")) {
      const [, name, labels = "", value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      if (name === undefined || name.endsWith("_bucket")) continue
      const keys = [name, ...[...labels.matchAll(/(\w+)="([^"]*)"/g)].map(([, key, held]) => `${name}{${key}=${held}}`)]
      for (const key of keys) sums.set(key, (sums.get(key) ?? 0) + Number(value))
    }
    return (key) => sums.get(key) ?? 0
  }

  /** Resident memory, bytes; of the data plane and JavaScript together. */
  resident() {
    const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${this.pid}/status`, "utf8")) ?? []
    return Number(kib ?? 0) * 1_024
  }

  async kill(signal = "SIGKILL") {
    const ended = once(this.#child, "exit")
    this.#child.kill(signal)
    await ended
  }

  async close() {
    if (this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null)
      await this.kill("SIGTERM")
    rmSync(this.folder, { recursive: true, force: true })
  }
}
