/**
 * What is published, installed into an empty project from its tarballs, with no compiler
 * and no clone in reach: on each supported Node, by the commands of the quick start.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import ava from "ava"
import { has, run as runProgram } from "../e2e/run-gateway.ts"

const test = ava.serial
const execute = promisify(execFile)
const root = fileURLToPath(new URL("../../", import.meta.url))
const folder = mkdtempSync(join(tmpdir(), "tidegate-package-"))
const project = join(folder, "project")
/** All that is on the PATH: no compiler, no cargo. */
const tools = join(folder, "bin")
const env = { ...process.env, PATH: tools, NODE_OPTIONS: "" }
let tarballs: readonly string[] = []

ava.before(async () => {
  mkdirSync(tools)
  mkdirSync(project)
  for (const tool of ["node", "npm", "npx", "sh"]) {
    const at = (process.env.PATH ?? "")
      .split(delimiter)
      .map((place) => join(place, tool))
      .find(existsSync)
    if (at !== undefined) symlinkSync(tool === "node" ? process.execPath : at, join(tools, tool))
  }
  const packed = await execute(process.execPath, [join(root, "bin/pack.mjs"), "--out", join(folder, "npm")])
  tarballs = packed.stdout.trim().split("\n")
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "empty", private: true, type: "module" }))
  await inProject("npm", ["install", "--no-audit", "--no-fund", ...tarballs])
})
ava.after.always(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }))

const inProject = (program: string, args: readonly string[]) =>
  execute(join(tools, program), [...args], { cwd: project, env, timeout: 100_000 })

/** Node of another major, from its npm package, which is the plain binary. */
async function nodeOf(major: number): Promise<string> {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath
  const place = join(folder, `node-${major}`)
  mkdirSync(place)
  writeFileSync(join(place, "package.json"), "{}")
  const name = `node-${process.platform}-${process.arch}`
  await execute("npm", ["install", "--no-audit", "--no-fund", `${name}@${major}`], { cwd: place })
  return join(place, "node_modules", name, "bin", "node")
}

/** `tidegate run` with this Node; its ports are free ones. */
async function start(node: string): Promise<{ child: ChildProcess; port: string; text: () => string }> {
  const child = spawn(node, [join(project, "node_modules/tidegate/bin/tidegate.mjs"), "run"], { cwd: project, env })
  let text = ""
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (part) => {
      text += String(part)
    })
  for (const end = Date.now() + 20_000; !/listening/.test(text); ) {
    if (child.exitCode !== null || Date.now() > end) throw new Error(`it did not start:\n${text}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  return { child, port: /tcp:\/\/127\.0\.0\.1:(\d+)/.exec(text)?.[1] ?? "", text: () => text }
}

test("the package is what its manifest says, for every way to resolve it", async (t) => {
  const { publint } = await import("publint")
  const { messages } = await publint({ pkgDir: join(folder, "npm", "tidegate"), strict: true })
  t.deepEqual(messages, [])
  const attw = join(root, "node_modules/@arethetypeswrong/cli/dist/index.js")
  // Ends with 1 for any problem that is one for ESM packages.
  const options = ["--profile", "esm-only", "--exclude-entrypoints", "./registry.proto"]
  await t.notThrowsAsync(execute(process.execPath, [attw, tarballs[0] ?? "", ...options]))
})

test("nothing runs at installation, and every platform's addon is wanted in one exact version", (t) => {
  const manifest = JSON.parse(readFileSync(join(project, "node_modules/tidegate/package.json"), "utf8")) as {
    version: string
    scripts?: unknown
    optionalDependencies: Readonly<Record<string, string>>
  }
  t.is(manifest.scripts, undefined)
  t.is(Object.keys(manifest.optionalDependencies).length, 9)
  t.true(Object.values(manifest.optionalDependencies).every((version) => version === manifest.version))
})

test("init writes a configuration that passes its check", async (t) => {
  await inProject("npx", ["--no-install", "tidegate", "init"])
  await inProject("npx", ["--no-install", "tidegate", "check"])
  const file = join(project, "tidegate.config.ts")
  const text = readFileSync(file, "utf8").replace(":7000", ":0").replace(":5683", ":0")
  writeFileSync(file, text.replace("listeners:", 'admin: { address: "127.0.0.1:0" },\n  listeners:'))
  t.pass()
})

if (has("mosquitto_pub", "mosquitto-clients")) {
  for (const major of [20, 22, 24]) {
    test(`Node ${major} runs it, and it takes an MQTT message`, async (t) => {
      const { child, port, text } = await start(await nodeOf(major))
      try {
        await runProgram("mosquitto_pub", ["-p", port, "-t", "plant/1/temp", "-m", `21.${major}`, "-q", "1", "-r"])
        const answer = await fetch(`http://127.0.0.1:${port}/t/archive/plant/1/temp`)
        t.is(await answer.text(), `21.${major}`, text())
        t.is(await (await fetch(`http://127.0.0.1:${port}/ping`)).text(), "pong\n")
      } finally {
        const ended = once(child, "exit")
        child.kill("SIGTERM")
        await ended
      }
      t.is(child.exitCode, 0, text())
    })
  }
}

test("its types are there for a program", async (t) => {
  const program = `
    import { createGateway, defineConfig, definePolicy, path } from "tidegate"
    import { mqtt } from "tidegate/codec"
    import { decide } from "tidegate/testing"
    const tenant = definePolicy({ name: "tenant", decide: (message) => ({ hashKey: message.header("x") }) })
    export default defineConfig({ upstreams: { api: { endpoints: [] } }, routes: [{ when: path("/"), to: "api", use: [tenant()] }] })
    // @ts-expect-error there is no such upstream
    defineConfig({ upstreams: { api: {} }, routes: [{ when: path("/"), to: "apj" }] })
    export const used = [createGateway, mqtt.decode, decide]
  `
  writeFileSync(join(project, "program.ts"), program)
  const tsc = join(root, "node_modules/typescript/bin/tsc")
  const flags = ["--noEmit", "--strict", "--module", "nodenext", "--moduleResolution", "nodenext", "--types", "node"]
  const types = ["--typeRoots", join(root, "node_modules/@types")]
  const checked = await execute(process.execPath, [tsc, ...flags, ...types, "program.ts"], { cwd: project }).catch(
    (error: { stdout: string }) => error,
  )
  t.is(checked.stdout, "")
})

test("without its addon it says for which platform, where it looked and what to do", async (t) => {
  const addons = join(project, "node_modules/@tidegate")
  renameSync(addons, `${addons}-away`)
  try {
    const failed = (await inProject("npx", ["--no-install", "tidegate", "run"]).catch((error: unknown) => error)) as {
      code: number
      stderr: string
    }
    t.is(failed.code, 2)
    t.regex(failed.stderr, /no native addon for \w+-\w+.*looked for: .*@tidegate\/.*\[NATIVE_MISSING\]/)
    t.regex(failed.stderr, /npm install tidegate --include=optional/)
  } finally {
    renameSync(`${addons}-away`, addons)
  }
})

test("bench names what it needs, and with that it measures every shape of both codecs", async (t) => {
  const failed = (await inProject("npx", ["--no-install", "tidegate", "bench", "codec"]).catch(
    (error: unknown) => error,
  )) as {
    stderr: string
  }
  t.regex(failed.stderr, /npm install --no-save tinybench/)
  for (const name of ["tinybench", "mqtt-packet", "coap-packet"])
    symlinkSync(join(root, "node_modules", name), join(project, "node_modules", name))
  await inProject("npx", ["--no-install", "tidegate", "bench", "codec", "--quick", "--json", "bench.json"])
  const { results } = JSON.parse(readFileSync(join(project, "bench.json"), "utf8")) as {
    results: { codec: { name: string; nanoseconds?: number; peer?: boolean }[] }
  }
  for (const [index, { name, nanoseconds, peer = false }] of results.codec.entries()) {
    t.true((nanoseconds ?? 0) > 0, name)
    t.is(peer, index % 2 === 0, "ours stands under its peer")
  }
  for (const packet of ["PUBLISH", "PUT"])
    for (const size of ["4 B", "256 B", "16 KB"])
      for (const work of ["decode", "encode"])
        for (const shape of ["", ", 64 a call", ", 64 KB a call"])
          t.true(
            results.codec.some(({ name }) => name === `${packet} ${size} ${work}${shape}: tidegate`),
            `${packet} ${size} ${work}${shape}`,
          )
  t.true(existsSync(join(dirname(addonOf()), "package.json")))
})

function addonOf(): string {
  return join(project, "node_modules/@tidegate", readPlatform(), `tidegate.${readPlatform()}.node`)
}

function readPlatform(): string {
  return /npm\/tidegate-(.*)-\d+\.\d+\.\d+/.exec(tarballs[1] ?? "")?.[1] ?? ""
}
