/** nginx, HAProxy and hyper on free ports, before an origin, with their standard strictness. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { freePort } from "../free-port.mjs"

export interface Peer {
  readonly name: string
  readonly port: number
  stop(): void
}

export async function startNginx(originPort: number): Promise<Peer> {
  const [port, folder] = [await freePort(), mkdtempSync(join(tmpdir(), "tidegate-nginx-"))]
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((kind) => `${kind}_temp_path ${folder};`)
  const config = `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
    events { worker_connections 256; }
    http { access_log off; ${temporary.join(" ")}
      upstream origin { server 127.0.0.1:${originPort}; keepalive 16; }
      server { listen 127.0.0.1:${port};
        location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ""; } } }`
  writeFileSync(join(folder, "nginx.conf"), config)
  const args = ["-p", folder, "-e", join(folder, "error.log"), "-c", join(folder, "nginx.conf")]
  return started(`nginx ${versionOf("nginx", ["-v"])}`, port, spawn("nginx", args, { stdio: "ignore" }), folder)
}

export async function startHaproxy(originPort: number): Promise<Peer> {
  const [port, folder] = [await freePort(), mkdtempSync(join(tmpdir(), "tidegate-haproxy-"))]
  const config = `defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend f
    bind 127.0.0.1:${port}
    default_backend b
backend b
    server s 127.0.0.1:${originPort}
`
  writeFileSync(join(folder, "haproxy.cfg"), config)
  const child = spawn("haproxy", ["-db", "-f", join(folder, "haproxy.cfg")], { stdio: "ignore" })
  return started(`HAProxy ${versionOf("haproxy", ["-v"])}`, port, child, folder)
}

/** Built from `hyper/` here. */
export async function startHyper(): Promise<Peer> {
  const manifest = fileURLToPath(new URL("hyper/Cargo.toml", import.meta.url))
  const target = fileURLToPath(new URL("../../target/differential", import.meta.url))
  const args = ["run", "--quiet", "--locked", "--manifest-path", manifest, "--target-dir", target]
  const child = spawn("cargo", args, { stdio: ["pipe", "pipe", "inherit"] })
  const [line] = (await once(child.stdout, "data")) as [Buffer]
  const stop = (): void => {
    child.stdin.end()
  }
  return { name: "hyper 1", port: Number(line.toString()), stop }
}

async function started(name: string, port: number, child: ChildProcess, folder: string): Promise<Peer> {
  const stop = (): void => {
    child.kill("SIGTERM")
    child.once("exit", () => rmSync(folder, { recursive: true, force: true }))
  }
  for (const end = Date.now() + 10_000; Date.now() < end; await sleep(20)) {
    const socket = connect(port, "127.0.0.1")
    const open = await Promise.race([once(socket, "connect").then(() => true), once(socket, "close").then(() => false)])
      .catch(() => false)
      .finally(() => socket.destroy())
    if (open) return { name, port, stop }
  }
  stop()
  throw new Error(`${name} did not start`)
}

function versionOf(program: string, args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(program, args, { encoding: "utf8" })
  return /\d+\.\d+(\.\d+)?/.exec(`${stdout}${stderr}`)?.[0] ?? ""
}
