/** The command line as scripts see it: exit codes, lines, signals. Runs what is built in dist/. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync, mkdtempSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import test, { type ExecutionContext } from "ava"
import { withAddon } from "./with-addon.ts"

const bin = fileURLToPath(new URL("../../bin/tidegate.mjs", import.meta.url))

function write(text: string, name = "tidegate.config.yaml"): string {
  const file = join(mkdtempSync(join(tmpdir(), "tidegate-")), name)
  writeFileSync(file, text)
  return file
}

function start(args: readonly string[], input?: string, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const options = { stdio: ["pipe", "pipe", "pipe"] as ["pipe", "pipe", "pipe"], env: { ...process.env, ...env } }
  const child = spawn(process.execPath, [bin, ...args], options)
  child.stdin?.end(input)
  return child
}

async function run(args: readonly string[], input?: string, env: NodeJS.ProcessEnv = {}) {
  const child = start(args, input, env)
  let [out, err] = ["", ""]
  child.stdout?.on("data", (part) => {
    out += String(part)
  })
  child.stderr?.on("data", (part) => {
    err += String(part)
  })
  const [code] = await once(child, "close")
  return { code: code as number, out, err }
}

test("check exits with 0, or with 1 and every problem on a line of its own", async (t) => {
  t.is((await run(["check", "--config", write("workers: 1\n")])).code, 0)
  const file = write("worker: 1\nroutes: [{ when: { path: a }, to: b }]\n")
  const { code, out } = await run(["check", "--config", file])
  t.is(code, 1)
  t.is(out.trim().split("\n").length, 3)
  t.true(out.startsWith(`${file}:1: worker: "worker" is not known here; did you mean "workers"?\n`))
  const json = JSON.parse((await run(["check", "--json", "--config", file])).out) as {
    ok: boolean
    problems: unknown[]
  }
  t.false(json.ok)
  t.is(json.problems.length, 3)
})

test("a file that is not there is the environment's fault, a wrong command the user's", async (t) => {
  t.is((await run(["check", "--config", "/nowhere/at/all.yaml"])).code, 2)
  const wrong = await run(["chek"])
  t.is(wrong.code, 1)
  t.regex(wrong.err, /Did you mean check/)
})

test("every command has help with an example", async (t) => {
  const { code, out } = await run(["--help"])
  t.is(code, 0)
  const commands = [...out.matchAll(/^ {2}([a-z]+) .*[a-z]/gm)].map(([, name = ""]) => name)
  for (const command of ["run", "init", "check", "explain", "top", "mqtt", "optimizer", "services", "cert", "encrypt"])
    t.true(commands.includes(command), command)
  for (const command of commands.filter((name) => name !== "help"))
    t.regex((await run([command, "--help"])).out, /^Example:\n {2}\S/m, command)
})

test("bench knows every name that its help tells, and another one is the user's fault", async (t) => {
  const { code, err } = await run(["bench", "nothing"])
  t.is(code, 1, err)
  const help = (await run(["bench", "--help"])).out
  const told = /codec, [\s\S]*?syscalls/.exec(help)?.[0].replace(/in a clone also|\(the default\);/g, "") ?? ""
  for (const name of told.match(/[a-z]+/g) ?? []) t.regex(err, new RegExp(`\\b${name}\\b`))
})

test("init writes a configuration that passes its check, and never over another one", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-"))
  t.is((await run(["init", folder])).code, 0)
  const file = join(folder, "tidegate.config.ts")
  t.true(existsSync(file))
  t.is((await run(["check", "--config", file])).code, 0)
  t.is((await run(["init", folder])).code, 1)
  t.is((await run(["init", "--yaml", folder])).code, 0)
  t.is((await run(["check", "--config", join(folder, "tidegate.config.yaml")])).code, 0)
})

test("the resolved configuration has every default and no secret", async (t) => {
  const file = write('auth: { users: { a: "$argon2id$v=19$secret" } }\n')
  const { out } = await run(["config", "--resolved", "--config", file])
  const shown = JSON.parse(out) as { limits: { maxConnections: number } }
  t.is(shown.limits.maxConnections, 100_000)
  t.false(out.includes("secret"))
})

test("says where it looked when no gateway answers", async (t) => {
  const { code, err } = await run(["explain", "a/b", "--admin", "127.0.0.1:1"])
  t.is(code, 2)
  t.regex(err, /no gateway answers on http:\/\/127.0.0.1:1/)
})

const CONFIG = `workers: 1
admin: { address: "127.0.0.1:0" }
listeners: [{ address: "tcp://127.0.0.1:0" }]
routes: [{ name: ping, when: { path: /ping }, to: { respond: { status: 200, body: pong } } }]
drain: { timeoutMs: 2000 }
`

async function serve(t: ExecutionContext, file: string) {
  const child = start(["run", "--config", file])
  t.teardown(() => child.kill("SIGKILL"))
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, "data")) as [Buffer]
  const [, address = "", admin = ""] = /^listening tcp:\/\/(\S+) admin (\S+)/.exec(String(line)) ?? []
  return { child, address, admin }
}

withAddon("run says where it listens, serves, explains, reloads and leaves with 0", async (t) => {
  const file = write(CONFIG)
  const { child, address, admin } = await serve(t, file)
  t.is((await fetch(`${admin}/ready`)).status, 200)
  t.is(await (await fetch(`http://${address}/ping`)).text(), "pong")
  const explained = await run(["explain", "GET", "http://x/ping", "--admin", admin, "--json"])
  t.is((JSON.parse(explained.out) as { route: string }).route, "ping")
  writeFileSync(file, CONFIG.replace("body: pong", "body: changed"))
  child.kill("SIGHUP")
  let body = ""
  while (body !== "changed") body = await (await fetch(`http://${address}/ping`)).text()
  let err = ""
  child.stderr?.on("data", (part) => {
    err += String(part)
  })
  child.kill("SIGTERM")
  t.deepEqual(await once(child, "close"), [0, null])
  t.regex(err, /^draining, for 2 s at most; a second signal ends it now$/m)
})

withAddon("a second signal ends it at once, whatever the first one waits for", async (t) => {
  const { child, admin } = await serve(t, write(CONFIG.replace("timeoutMs: 2000", "delayMs: 20000, timeoutMs: 2000")))
  child.kill("SIGTERM")
  while ((await fetch(`${admin}/ready`)).status !== 503) await sleep(10)
  child.kill("SIGTERM")
  t.deepEqual(await once(child, "exit", { signal: AbortSignal.timeout(3_000) }), [1, null])
})

withAddon("run exits with 2 when its port is taken", async (t) => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  t.teardown(() => server.close())
  const { port } = server.address() as { port: number }
  const { code, err } = await run([
    "run",
    "--config",
    write(CONFIG.replace("tcp://127.0.0.1:0", `tcp://127.0.0.1:${port}`)),
  ])
  t.is(code, 2)
  t.regex(err, /PORT_IN_USE/)
})

withAddon("passwd hashes what stands on standard input", async (t) => {
  const { code, out } = await run(["passwd", "alice"], "secret\n")
  t.is(code, 0)
  t.regex(out, /^alice: "\$argon2id\$v=19\$/)
})

test("an encrypted secret is read with its key only", async (t) => {
  const key = { TIDEGATE_SECRET_KEY: (await run(["encrypt", "--new-key"])).out.trim() }
  const token = (await run(["encrypt"], "s3cret\n", key)).out.trim()
  t.regex(token, /^\{ encrypted: "v1\.[A-Za-z0-9+/=]+" \}$/)
  const file = write(`admin: { token: ${token} }\n`)
  const shown = await run(["config", "--resolved", "--config", file], undefined, key)
  t.is(shown.code, 0, shown.err)
  t.false(shown.out.includes("s3cret"))
  const other = { TIDEGATE_SECRET_KEY: (await run(["encrypt", "--new-key"])).out.trim() }
  const wrong = await run(["check", "--config", file], undefined, other)
  t.is(wrong.code, 1)
  t.regex(wrong.out, /admin\.token: cannot be decrypted: it was changed, or encrypted under another key/)
  t.regex((await run(["check", "--config", file])).out, /is encrypted, and neither TIDEGATE_SECRET_KEY nor/)
  t.regex((await run(["encrypt"], "a\n")).err, /no key to encrypt with: neither.*\n.*tidegate encrypt --new-key/)
})

test("a broken file ends the start, unless the last good one is asked for", async (t) => {
  const file = write("")
  const good = 'admin: false\nworkers: 1\nlisteners: [{ address: "tcp://127.0.0.1:0" }]\n'
  const ready = async (...more: readonly string[]): Promise<string> => {
    const child = start(["run", "--config", file, ...more])
    let text = ""
    child.stderr?.on("data", (part) => {
      text += String(part)
    })
    const [line] = (await Promise.race([once(child.stdout ?? child, "data"), once(child, "exit")])) as [unknown]
    if (child.exitCode === null) {
      child.kill()
      await once(child, "exit")
    }
    return `${String(line)} ${text}`
  }
  writeFileSync(file, good)
  t.regex(await ready(), /listening/)
  writeFileSync(file, "workers: none\n")
  t.regex(await ready(), /^1 /)
  t.regex(await ready("--last-good"), /listening[\s\S]*starting with the last good one[\s\S]*expected integer/)
})
