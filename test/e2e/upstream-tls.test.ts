/** TLS and HTTP/2 to upstreams: who is believed, what is shown, what is agreed on. */
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer as createH2c, createSecureServer, type Http2Server } from "node:http2"
import { createServer as createHttps } from "node:https"
import type { AddressInfo, Server } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { TLSSocket } from "node:tls"
import { fileURLToPath } from "node:url"
import ava from "ava"
import { type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "tidegate-up-"))
const file = (name: string): string => join(folder, name)
const servers: Server[] = []
let gateway: Running
let h2cSessions = 0

function cert(...args: string[]): void {
  const made = spawnSync(process.execPath, [command, "cert", "dev", "--dir", folder, ...args], { encoding: "utf8" })
  if (made.status !== 0) throw new Error(made.stderr + made.stdout)
}

/** A certificate that nobody but itself has signed, as most are made by hand. */
function selfSigned(name: string): { cert: Buffer; key: Buffer } {
  const [cert, key] = [file(`${name}.pem`), file(`${name}.key`)]
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
  const names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
  const made = spawnSync("openssl", ["req", "-x509", ...kind, "-keyout", key, "-out", cert, ...names])
  if (made.status !== 0) throw new Error(String(made.stderr))
  return { cert: readFileSync(cert), key: readFileSync(key) }
}

async function listen(server: Server | Http2Server): Promise<string> {
  servers.push(server as Server)
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  return String((server.address() as AddressInfo).port)
}

ava.before(async () => {
  cert()
  cert("--client", "gateway")
  const own = { cert: readFileSync(file("dev.pem")), key: readFileSync(file("dev.key")) }
  const secure = await listen(createHttps(own, (_, response) => response.end("over tls")))
  const mutual = await listen(
    createHttps(
      { ...own, ca: readFileSync(file("dev-ca.pem")), requestCert: true, rejectUnauthorized: true },
      (request, response) => {
        const shown = (request.socket as TLSSocket).getPeerCertificate()
        response.end(`${shown.subject.CN} asked ${(request.socket as TLSSocket & { servername: string }).servername}`)
      },
    ),
  )
  const h2 = await listen(
    createSecureServer({ ...own, allowHTTP1: true }, (request, response) => {
      response.end(`version ${request.httpVersion}`)
    }),
  )
  const itself = await listen(createHttps(selfSigned("itself"), (_, response) => response.end("itself")))
  const another = await listen(createHttps(selfSigned("another"), (_, response) => response.end("another")))
  const plain = createH2c((request, response) => {
    let size = 0
    request.on("data", (data: Buffer) => {
      size += data.length
    })
    request.on("end", () => {
      response.setHeader("x-size", String(size))
      if (request.url === "/h2c/big") response.end("x".repeat(1_500_000))
      else {
        response.addTrailers({ "x-sum": "7" })
        response.end(`h2c ${request.method} ${request.url} ${request.headers.host ?? request.authority}`)
      }
    })
  })
  plain.on("session", () => h2cSessions++)
  const h2c = await listen(plain)
  const ca = file("dev-ca.pem")
  gateway = await runGateway({
    workers: 1,
    upstreams: {
      trusted: { endpoints: [`localhost:${secure}`], tls: { ca }, health: { http: "/", intervalMs: 50 } },
      stranger: { endpoints: [`localhost:${secure}`], tls: true },
      wrong: { endpoints: [`127.0.0.1:${secure}`], tls: { ca, serverName: "other.test" } },
      careless: { endpoints: [`127.0.0.1:${secure}`], tls: { verify: false } },
      itself: { endpoints: [`localhost:${itself}`], tls: { ca: file("itself.pem") } },
      misnamed: { endpoints: [`localhost:${itself}`], tls: { ca: file("itself.pem"), serverName: "other.test" } },
      another: { endpoints: [`localhost:${another}`], tls: { ca: file("itself.pem") } },
      mutual: {
        endpoints: [`127.0.0.1:${mutual}`],
        tls: { ca, serverName: "localhost", cert: file("gateway.pem"), key: file("gateway.key") },
      },
      agreed: { endpoints: [`localhost:${h2}`], tls: { ca } },
      old: { endpoints: [`localhost:${h2}`], protocol: "http1", tls: { ca } },
      new: { endpoints: [`localhost:${h2}`], protocol: "h2", tls: { ca }, health: { http: "/", intervalMs: 50 } },
      h2c: { endpoints: [`127.0.0.1:${h2c}`], protocol: "h2c" },
    },
    routes: [
      ...["trusted", "stranger", "wrong", "careless", "mutual", "agreed", "old", "new", "h2c"],
      ...["itself", "misnamed", "another"],
    ].map((name) => ({ when: { path: `/${name}/**` }, to: name })),
  })
})
ava.after.always(async () => {
  await gateway?.stop()
  for (const server of servers) server.close()
  rmSync(folder, { recursive: true, force: true })
})

async function get(path: string, ...args: string[]): Promise<string> {
  return (await run("curl", ["-s", "-w", " %{http_code}", ...args, `http://127.0.0.1:${gateway.port}${path}`])).out
}

test("an upstream is verified by the authority that the configuration names", async (t) => {
  t.is(await get("/trusted/a"), "over tls 200")
  t.is(await get("/trusted/b"), "over tls 200", "on the same connection")
  t.regex(await get("/stranger/a"), /503$/)
  t.regex(await get("/wrong/a"), /503$/)
  t.is(await get("/careless/a"), "over tls 200")
})

test("a certificate that stands in `ca` itself is believed for its names", async (t) => {
  t.is(await get("/itself/a"), "itself 200")
  t.regex(await get("/misnamed/a"), /503$/)
  t.regex(await get("/another/a"), /503$/)
})

test("the gateway shows its certificate and asks for the server name", async (t) => {
  t.is(await get("/mutual/a"), "gateway asked localhost 200")
})

test("HTTP/2 is agreed on where both can, and only then", async (t) => {
  t.is(await get("/agreed/a"), "version 2.0 200")
  t.is(await get("/old/a"), "version 1.1 200")
  t.is(await get("/new/a"), "version 2.0 200")
})

test("HTTP/2 by prior knowledge: requests share a connection, bodies and trailers pass", async (t) => {
  t.is(await get("/h2c/a", "-H", "Host: some.test"), "h2c GET /h2c/a some.test 200")
  const before = h2cSessions
  const all = Array.from({ length: 40 }, async (_, index) => {
    const url = `http://127.0.0.1:${gateway.port}/h2c/${index}`
    return (await fetch(url, { method: "POST", body: "x".repeat(1_000 * index) })).text()
  })
  for (const [index, text] of (await Promise.all(all)).entries()) t.regex(text, new RegExp(`^h2c POST /h2c/${index} `))
  t.is(h2cSessions, before)
  const big = await run("curl", [
    "-s",
    "-o",
    "/dev/null",
    "-w",
    "%{size_download}",
    `http://127.0.0.1:${gateway.port}/h2c/big`,
  ])
  t.is(big.out, "1500000")
  t.regex(
    await get("/h2c/size", "-T", file("dev.pem"), "-i"),
    new RegExp(`x-size: ${readFileSync(file("dev.pem")).length}`),
  )
  t.is(await get("/h2c/head", "-I", "-o", "/dev/null"), " 200")
})

test("checks speak to an upstream as the gateway does", async (t) => {
  for (const end = Date.now() + 5_000; Date.now() < end; await sleep(50)) {
    const { items } = (await (await fetch(`${gateway.admin}/v1/upstreams`)).json()) as {
      items: { name: string; endpoints: { health: string }[] }[]
    }
    const checked = items.filter(({ name }) => ["trusted", "new"].includes(name))
    if (checked.every(({ endpoints }) => endpoints.every(({ health }) => health === "healthy"))) return t.pass()
  }
  t.fail("not all became healthy")
})
