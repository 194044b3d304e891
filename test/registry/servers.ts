/** Servers that tests start, stop and start again on the same port: HTTP, etcd, NATS, PostgreSQL. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { createServer, type RequestListener, type Server } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import pg from "pg"
import { freePort } from "../free-port.mjs"

/** An HTTP server that can go away and come back on its port. */
export class Web {
  #server: Server
  #port = 0
  readonly #answer: RequestListener

  private constructor(answer: RequestListener) {
    this.#answer = answer
    this.#server = createServer(answer)
  }

  static async open(answer: RequestListener): Promise<Web> {
    const web = new Web(answer)
    web.#port = await freePort()
    await web.mend()
    return web
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  async fail(): Promise<void> {
    const closed = once(this.#server, "close")
    this.#server.close()
    this.#server.closeAllConnections()
    await closed
  }

  async mend(): Promise<void> {
    this.#server = createServer(this.#answer)
    this.#server.listen(this.#port, "127.0.0.1")
    await once(this.#server, "listening")
    this.#port = (this.#server.address() as AddressInfo).port
  }
}

/** A program that listens on a port. */
export interface Daemon {
  readonly url: string
  readonly port: number
  fail(): Promise<void>
  mend(): Promise<void>
  /** For good, with its data. */
  close(): Promise<void>
}

/** Its data in a folder of its own; ready when it takes connections. */
async function daemon(
  folder: string,
  port: number,
  start: () => ChildProcess,
  stop: NodeJS.Signals = "SIGTERM",
): Promise<Daemon> {
  let child: ChildProcess | null = null
  const mend = async (): Promise<void> => {
    child = start()
    for (let tries = 0; !(await listens(port)); tries++) {
      if (tries > 300) throw new Error(`nothing listens on ${port}`)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
  const fail = async (): Promise<void> => {
    if (child === null || child.exitCode !== null) return
    const ended = once(child, "exit")
    child.kill(stop)
    await ended
  }
  const close = async (): Promise<void> => {
    await fail()
    rmSync(folder, { recursive: true, force: true })
  }
  await mend()
  return { url: `http://127.0.0.1:${port}`, port, fail, mend, close }
}

export async function etcdServer(): Promise<Daemon> {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-etcd-"))
  const [port, peerPort] = [await freePort(), await freePort()]
  const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`]
  const args = ["--data-dir", folder, "--listen-client-urls", client, "--advertise-client-urls", client]
  const more = ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
  const cluster = ["--initial-cluster", `default=${peer}`, "--logger", "zap", "--log-level", "error"]
  const etcd = await daemon(folder, port, () => spawn("etcd", [...args, ...more, ...cluster], { stdio: "ignore" }))
  await until(async () => (await fetch(`${client}/health`).catch(() => null))?.ok === true)
  return {
    ...etcd,
    mend: async () => {
      await etcd.mend()
      await until(async () => (await fetch(`${client}/health`).catch(() => null))?.ok === true)
    },
  }
}

/** Puts or, with null, deletes a key. */
export async function etcdPut(url: string, key: string, value: string | null): Promise<void> {
  const base64 = (text: string): string => Buffer.from(text).toString("base64")
  const [path, body] =
    value === null
      ? ["/v3/kv/deleterange", { key: base64(key) }]
      : ["/v3/kv/put", { key: base64(key), value: base64(value) }]
  const response = await fetch(`${url}${path}`, { method: "POST", body: JSON.stringify(body) })
  if (!response.ok) throw new Error(await response.text())
  await response.arrayBuffer()
}

export async function natsServer(): Promise<Daemon> {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-nats-"))
  const port = await freePort()
  const args = ["-a", "127.0.0.1", "-p", String(port), "-js", "-sd", folder]
  return daemon(folder, port, () => spawn("nats-server", args, { stdio: "ignore" }))
}

export async function redisServer(): Promise<Daemon> {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-redis-"))
  const port = await freePort()
  const args = ["--bind", "127.0.0.1", "--port", String(port), "--dir", folder, "--save", ""]
  return daemon(folder, port, () => spawn("redis-server", args, { stdio: "ignore" }))
}

/** Where Debian keeps PostgreSQL's programs, or null. */
export function postgresPrograms(): string | null {
  const root = "/usr/lib/postgresql"
  const versions = existsSync(root) ? readdirSync(root).sort() : []
  const newest = versions.at(-1)
  return newest === undefined ? null : join(root, newest, "bin")
}

/** PostgreSQL refuses to run as root: its own user runs it then. */
export async function postgresServer(): Promise<Daemon> {
  const programs = postgresPrograms() ?? ""
  const folder = mkdtempSync(join(tmpdir(), "tidegate-postgres-"))
  const port = await freePort()
  const isRoot = process.getuid?.() === 0
  const id = (flag: string): number => Number(spawnSync("id", [flag, "postgres"], { encoding: "utf8" }).stdout)
  const owner = isRoot ? { uid: id("-u"), gid: id("-g") } : {}
  if (owner.uid !== undefined && owner.gid !== undefined) chownSync(folder, owner.uid, owner.gid)
  const data = join(folder, "data")
  const init = ["-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8"]
  const made = spawnSync(join(programs, "initdb"), init, { ...owner, cwd: folder, encoding: "utf8" })
  if (made.status !== 0) throw new Error(`initdb: ${made.stderr}`)
  const run = ["-D", data, "-p", String(port), "-h", "127.0.0.1", "-k", folder, "-c", "fsync=off"]
  const start = () => spawn(join(programs, "postgres"), run, { ...owner, cwd: folder, stdio: "ignore" })
  const server = await daemon(folder, port, start, "SIGINT")
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  // It listens before it has started up, and refuses everybody meanwhile.
  const ready = () =>
    until(async () => {
      const client = new pg.Client({ connectionString: url })
      client.on("error", () => undefined)
      const isUp = await client.connect().then(
        () => true,
        () => false,
      )
      await client.end().catch(() => undefined)
      return isUp
    })
  const mend = async (): Promise<void> => {
    await server.mend()
    await ready()
  }
  await ready()
  return { ...server, mend, url }
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy()
      resolve(true)
    })
    socket.on("error", () => resolve(false))
  })
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await holds()); tries++) {
    if (tries > 300) throw new Error("the server did not become ready")
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
