/** The admin API over TLS with certificates: curl and the command line as clients, readers and administrators. */
import { spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import type { IncomingMessage } from "node:http"
import { request } from "node:https"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import ava from "ava"
import { type Running, run, runGateway } from "./run-gateway.ts"

const test = ava.serial
const command = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "tidegate-admin-"))
const file = (name: string): string => join(folder, name)
const cli = (...args: readonly string[]) => spawnSync(process.execPath, [command, ...args], { encoding: "utf8" })
let gateway: Running

ava.before(async () => {
  for (const more of [["--client", "operator"], ["--client", "watcher"], []]) {
    const made = cli("cert", "dev", "--dir", folder, ...more)
    if (made.status !== 0) throw new Error(made.stderr + made.stdout)
  }
  const tls = { cert: file("dev.pem"), key: file("dev.key"), clientAuth: { ca: file("dev-ca.pem"), mode: "request" } }
  const admin = { address: "127.0.0.1:0", token: "s3cret", readers: ["watcher"], tls }
  gateway = await runGateway({ admin, routes: [{ when: { path: "/a" }, to: { respond: { status: 200 } } }] })
})

ava.after.always(async () => {
  await gateway?.stop()
  rmSync(folder, { recursive: true })
})

const as = (name: string): string[] => ["--cert", file(`${name}.pem`), "--key", file(`${name}.key`)]

async function curl(path: string, ...args: readonly string[]): Promise<string> {
  const base = ["-s", "--cacert", file("dev-ca.pem"), "-o", "/dev/null", "-w", "%{http_code}", ...args]
  return (await run("curl", [...base, `${gateway.admin}${path}`])).out
}

test("a certificate says who may change, who may look, and who neither", async (t) => {
  t.true(gateway.admin.startsWith("https://"))
  t.is(await curl("/health"), "200")
  t.is(await curl("/v1/config"), "401")
  t.is(await curl("/v1/config", ...as("watcher")), "200")
  t.is(await curl("/v1/config/rollback", "-X", "POST", ...as("watcher")), "403")
  t.is(await curl("/v1/config/rollback", "-X", "POST", ...as("operator")), "409", "there is nothing to go back to")
  t.is(await curl("/v1/config", "-H", "Authorization: Bearer s3cret"), "200")
})

test("the command line shows its certificate", (t) => {
  const at = ["--admin", gateway.admin, "--ca", file("dev-ca.pem"), ...as("operator")]
  const made = cli("services", "register", "api", "a", "127.0.0.1:9000", ...at)
  t.is(made.status, 0, made.stderr)
  const listed = cli("services", "list", "--json", ...at)
  t.regex(listed.stdout, /"api"/, listed.stderr)
  const unknown = cli("services", "list", "--admin", gateway.admin)
  t.is(unknown.status, 2)
  t.regex(unknown.stderr, /no gateway answers on https:.*certificate/)
})

test("each change is in the audit log, with who asked for it and what came of it", async (t) => {
  const { out } = await run("curl", [
    "-s",
    "--cacert",
    file("dev-ca.pem"),
    ...as("watcher"),
    `${gateway.admin}/v1/audit`,
  ])
  const { items } = JSON.parse(out) as { items: readonly Record<string, unknown>[] }
  t.deepEqual(
    items.map(({ caller, method, path, status }) => `${caller} ${method} ${path} ${status}`),
    [
      "CN=operator PUT /v1/services/api/instances/a 201",
      "CN=operator POST /v1/config/rollback 409",
      "CN=watcher POST /v1/config/rollback 403",
    ],
  )
  const kept = readFileSync(join(gateway.folder, ".tidegate", "audit.log"), "utf8")
    .trim()
    .split("\n")
  t.is(kept.length, 3)
})

/** A request over TLS with the token, once it is sent and its answer's head is there. */
async function ask(method: string, path: string, body?: Buffer): Promise<IncomingMessage> {
  const headers = { authorization: "Bearer s3cret", "content-type": "application/json" }
  const asked = request(`${gateway.admin}${path}`, { method, headers, ca: readFileSync(file("dev-ca.pem")) })
  asked.end(body)
  const signal = AbortSignal.timeout(3_000)
  const [[answer]] = await Promise.all([once(asked, "response", { signal }), once(asked, "finish", { signal })])
  return answer as IncomingMessage
}

test("an event stream has its head before there is an event", async (t) => {
  const events = await ask("GET", "/v1/events?type=refused")
  t.is(events.headers["content-type"], "text/event-stream")
  events.destroy()
})

test("who sends too much is told so, though it sends all of it before it reads", async (t) => {
  const answer = await ask("PUT", "/v1/config", Buffer.alloc(20 << 20, " "))
  t.is(answer.statusCode, 413)
  t.regex(String(answer.headers["content-type"]), /^application\/problem\+json/)
  answer.destroy()
})
