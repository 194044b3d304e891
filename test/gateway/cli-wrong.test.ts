/** What the command line says to words and values that mean nothing, beside a running gateway. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import test from "ava"
import { withAddon } from "./with-addon.ts"

const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))
const CONFIG = `workers: 1
admin: { address: "127.0.0.1:0" }
listeners: [{ address: "tcp://127.0.0.1:0" }]
routes: [{ name: ping, when: { path: /ping }, to: { respond: { status: 200 } } }]
`

interface Ended {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function run(...args: readonly string[]): Promise<Ended> {
  return runIn(tmpdir(), ...args)
}

async function runIn(cwd: string, ...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [command, ...args], { cwd, stdio: ["ignore", "pipe", "pipe"] })
  const [out, err] = [child.stdout, child.stderr].map((stream) => stream.setEncoding("utf8").toArray())
  const [code] = await once(child, "close")
  return { code, out: (await out)?.join("") ?? "", err: (await err)?.join("") ?? "" }
}

withAddon("wrong words and values are the user's fault, and what has nothing to show says none", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  writeFileSync(join(folder, "tidegate.config.yaml"), CONFIG)
  const gateway = spawn(process.execPath, [command, "run"], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] })
  t.teardown(() => {
    gateway.kill("SIGKILL")
    rmSync(folder, { recursive: true, force: true })
  })
  const [, admin = ""] = /admin (\S+)/.exec(String(await once(gateway.stdout, "data"))) ?? []
  const ask = (...args: readonly string[]): Promise<Ended> => run(...args, "--admin", admin)

  const quoted = await ask("explain", "GET /ping")
  t.regex(quoted.out, /^route +ping$/m)
  for (const [words, said] of [
    [["explain", "GET", "/ping", "/pong"], /METHOD URL, or a topic, and no more.*\n.*needs quotes/],
    [["explain", "plant/+/temp"], /"plant\/\+\/temp" is a filter/],
    [["mqtt", "retained", "plant/#/temp"], /"#" may only be the last level/],
    [["mqtt", "trace", "--topic", "plant#"], /"\+" and "#" must fill a whole level/],
    [["services", "register", "api", "a1", "127.0.0.1:9000", "--ttl", "soon"], /'--ttl <seconds>'.*'soon'.*no number/],
    [["services", "register", "api", "a1", "127.0.0.1:9000", "--weight", ""], /'--weight <n>'.*no number/],
  ] as const) {
    const { code, err } = await ask(...words)
    t.is(code, 1, err)
    t.regex(err, said)
  }
  t.is((await ask("services", "list")).out, "none\n")
  t.is((await ask("services", "list", "api")).out, "none\n")
})

test("an address where no gateway is, is the environment's fault, and what is no address the user's", async (t) => {
  const server = createServer((_, response) => response.end("<p>hello</p>"))
  await once(server.listen(0, "127.0.0.1"), "listening")
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const other = await run("services", "list", "--admin", `127.0.0.1:${port}`)
  t.is(other.code, 2)
  t.regex(other.err, /no gateway answers on http:\/\/127\.0\.0\.1:\d+: what answers there is none/)
  const none = await run("services", "list", "--admin", "http://")
  t.is(none.code, 1)
  t.regex(none.err, /"http:\/\/" is no address of an admin API/)
})

test("a gateway that ends while its packets are watched is no fault of the command", async (t) => {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write(": here\n\n")
    setTimeout(() => response.destroy(), 50)
  })
  await once(server.listen(0, "127.0.0.1"), "listening")
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const { code, err } = await run("mqtt", "trace", "--admin", `127.0.0.1:${port}`)
  t.is(code, 2)
  t.regex(err, /it ended in the middle of its answer/)
})

test("problems are told with the file they are in, however it was found", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, "tidegate.config.yaml")
  writeFileSync(file, "workerz: 1\n")
  for (const words of [["run"], ["run", `--config=${file}`], ["config"], ["top", "--once"]]) {
    const { code, err } = await runIn(folder, ...words)
    t.is(code, 1)
    t.true(err.startsWith(`${file}:1: workerz: "workerz" is not known here`), err)
  }
  t.regex((await runIn(folder, "top", "--once")).err, /--admin URL/)
})

test("what cannot be written or read is the environment's fault", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, "taken"), "")
  for (const words of [
    ["init", "taken"],
    ["init", "taken/deeper"],
    ["cert", "dev", "--dir", "taken"],
    ["bench", "codec", "--quick", "--json", "taken/bench.json"],
    ["services", "list", "--admin", "https://127.0.0.1:1", "--ca", "nowhere.pem"],
  ]) {
    const { code, err } = await runIn(folder, ...words)
    t.is(code, 2, err)
    t.regex(err, /\[FILE_UNUSABLE\]/)
  }
  const odd = await runIn(folder, "cert", "dev", "--client", "a b/c")
  t.is(odd.code, 1, odd.err)
  t.regex(odd.err, /"a b\/c" is no name for a certificate/)
})

withAddon("a route that the data plane cannot serve is told at the start, and a metric that is none", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  const text = `${CONFIG}log: { access: { format: json, file: nowhere/access.log } }
alerts: [{ name: late, metric: tidegate_droped_total, above: 1, do: [{ log: warn }] }]
`
  writeFileSync(join(folder, "tidegate.config.yaml"), text)
  const gateway = spawn(process.execPath, [command, "run"], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] })
  t.teardown(() => {
    gateway.kill("SIGKILL")
    rmSync(folder, { recursive: true, force: true })
  })
  let err = ""
  gateway.stderr.on("data", (part) => {
    err += String(part)
  })
  await once(gateway.stdout, "data")
  while (!/did you mean/.test(err)) await once(gateway.stderr, "data")
  t.regex(err, /log\.access[^"]* is broken: /)
  t.regex(err, /alert late: no metric tidegate_droped_total is known; did you mean tidegate_dropped_total\?/)
})

withAddon("a broken file in the data directory is the environment's fault, and named", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  writeFileSync(join(folder, "tidegate.config.yaml"), CONFIG)
  mkdirSync(join(folder, ".tidegate"))
  writeFileSync(join(folder, ".tidegate", "registry.db"), "no database\n")
  const { code, err } = await runIn(folder, "run")
  t.is(code, 2, err)
  t.regex(err, /registry\.db: .* \[STORE\]\n {2}move the file away/)
})
