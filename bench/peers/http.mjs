// Everyone who proxies HTTP/1.1 in http-proxy.mjs, memory.mjs and syscalls.mjs: 64 routes,
// X-Forwarded-For, -Proto and -Host, timeouts, a sampled access log, one worker.
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { packaged } from "../lib/packages.mjs"
import { CORE, find, freePort, listening, output, scratch, start } from "../lib/process.mjs"
import { tidegateHttp } from "./tidegate.mjs"

/** Routes on every proxy: /r0 to /r63. */
export const ROUTES = Array.from({ length: 64 }, (_, index) => `/r${index}`)

/** In one place: nginx inherits none of them where a level has some of its own. */
const NGINX_HEADERS = [
  "proxy_set_header Connection $passed_on;",
  "proxy_set_header Upgrade $http_upgrade;",
  "proxy_set_header Host $http_host;",
  "proxy_set_header X-Forwarded-For $remote_addr;",
  "proxy_set_header X-Forwarded-Proto $scheme;",
  "proxy_set_header X-Forwarded-Host $http_host;",
]

/** Starts a command that listens on a port of its own; its files go to an own folder. */
export async function serve(core, command, argsOf) {
  const [port, folder] = [await freePort(), scratch()]
  const child = start(core, command, await argsOf(port, folder), { cwd: folder })
  await listening(port, child)
  return { port, child, pid: child.pid }
}

const debian = (name) => () => (find(name) === undefined ? `apt-get install ${name}` : undefined)
const versionBy = (command, flag) => () => /\d+\.\d+(\.\d+)?/.exec(output(command, [flag]))?.[0] ?? "?"

/** `words` stand behind the address that is listened on, `lines` beside it. */
export const nginxFront = (words = "", lines = []) => ({
  name: "nginx",
  missing: debian("nginx"),
  version: versionBy("nginx", "-v"),
  start: (origin) =>
    serve(CORE.gateway, "nginx", (port, folder) => {
      const locations = ROUTES.map((route) => `location ${route}/ { proxy_pass http://origin; }`)
      const server = [`listen 127.0.0.1:${port} ${words};`, ...lines, ...NGINX_HEADERS, ...locations]
      return nginxArgs(folder, [
        `upstream origin { server 127.0.0.1:${origin}; keepalive 512; keepalive_requests 1000000000; }`,
        // One line in a hundred, as the others.
        'split_clients "$connection-$connection_requests" $logged { 1% 1; * 0; }',
        "access_log access.log combined if=$logged;",
        // What an upgrade needs; empty for everything else, so that connections are kept.
        'map $http_upgrade $passed_on { default upgrade; "" ""; }',
        "proxy_http_version 1.1; proxy_connect_timeout 2s; proxy_read_timeout 15s; proxy_send_timeout 15s;",
        `server { ${server.join("\n")} }`,
      ])
    }),
})

export const nginx = nginxFront()

/** nginx as one process in the foreground, with everything it writes in `folder`. */
export function nginxArgs(folder, http) {
  const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder};`)
  const config = [
    "daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;",
    "events { worker_connections 16000; }",
    `http { ${paths.join(" ")} keepalive_requests 1000000000; keepalive_timeout 75s; client_header_timeout 10s;`,
    "tcp_nodelay on;",
    ...http,
    "}",
  ]
  writeFileSync(join(folder, "nginx.conf"), config.join("\n"))
  return ["-p", folder, "-c", "nginx.conf"]
}

/** `words` stand behind the address that is bound, `behind` after the origin's. */
export const haproxyFront = (words = "", behind = "") => ({
  name: "haproxy",
  missing: debian("haproxy"),
  version: versionBy("haproxy", "-v"),
  start: (origin) =>
    serve(CORE.gateway, "haproxy", (port, folder) => {
      const file = join(folder, "haproxy.cfg")
      const map = join(folder, "routes.map")
      writeFileSync(map, ROUTES.map((route) => `${route.slice(1)} origin\n`).join(""))
      writeFileSync(file, `${haproxyConfig({ port, origin, map, words, behind }).join("\n")}\n`)
      return ["-db", "-f", file]
    }),
})

export const haproxy = haproxyFront()

function haproxyConfig({ port, origin, map, words, behind }) {
  return [
    "global",
    "  nbthread 1",
    "  maxconn 8000",
    "  log stdout format raw sample 1:100 local0",
    "defaults",
    "  mode http",
    "  log global",
    "  option httplog",
    "  timeout connect 2s\n  timeout client 75s\n  timeout server 15s\n  timeout http-request 10s",
    "  http-reuse always",
    "frontend in",
    `  bind 127.0.0.1:${port} ${words}`,
    "  http-request set-header X-Forwarded-For %[src]",
    "  http-request set-header X-Forwarded-Proto http",
    "  http-request set-header X-Forwarded-Host %[req.hdr(host)]",
    // One look-up, as the others have it, instead of 64 rules one after the other.
    `  use_backend %[path,field(2,/),map(${map},none)]`,
    // One backend, as the others have one upstream: idle connections belong to it.
    "backend origin",
    `  server origin 127.0.0.1:${origin} pool-max-conn 512 ${behind}`,
  ]
}

/** A gateway of Node: a program in serve/ that takes its port and the origin's. */
function nodeGateway(name, program, packages) {
  const path = fileURLToPath(new URL(`./serve/${program}.mjs`, import.meta.url))
  const start = (origin) => serve(CORE.gateway, process.execPath, (port) => [path, String(port), String(origin)])
  return { name, ...packaged(...packages), start }
}

const fastify = nodeGateway("@fastify/http-proxy", "fastify-http-proxy", ["@fastify/http-proxy", "fastify"])
const httpProxy = nodeGateway("http-proxy", "http-proxy", ["http-proxy"])
export const undici = nodeGateway("node:http+undici", "undici-proxy", ["undici"])

export const HTTP_PEERS = [tidegateHttp, nginx, haproxy, fastify, httpProxy, undici]
