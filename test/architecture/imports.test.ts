/** Who may import whom: the arrows of ARCHITECTURE.md, held by this test. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, relative, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import test from "ava"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** A folder of src/ imports only from folders above it. */
const FOLDERS = [
  "errors.ts",
  "turns.ts",
  "make-folder.ts",
  "remote",
  "model",
  "native",
  "codec",
  "policy",
  "runner",
  "route",
  "balance",
  "resilience",
  "config",
  "builders",
  "registry",
  "health",
  "plan",
  "metrics",
  "tracing",
  "dashboard",
  "alerts",
  "optimizer",
  "bridges",
  "sharing",
  "gateway",
  "testkit",
  "admin",
  "cli",
  "codec.ts",
  "create-gateway.ts",
  "testing.ts",
  "index.ts",
]

/** What a crate of the workspace may depend on, directly. `codec/*` never on each other. */
const CRATES: Readonly<Record<string, readonly string[]>> = {
  message: [],
  "codec/kit": ["message"],
  "codec/http": ["message", "codec/kit"],
  "codec/http2": [],
  "codec/websocket": ["message", "codec/kit"],
  "codec/mqtt": ["message", "codec/kit"],
  "codec/coap": ["message", "codec/kit"],
  detect: ["codec/kit"],
  route: ["message"],
  balance: ["message"],
  resilience: ["message"],
  cache: ["codec/http"],
  policy: ["message", "route", "resilience", "cache"],
  broker: ["message"],
  store: ["message", "broker"],
  ring: ["message"],
  tls: ["message"],
  dtls: [],
  oscore: ["codec/coap"],
  directory: [],
  listener: ["message", "detect"],
  upstream: ["codec/kit", "codec/http", "balance", "resilience", "message"],
  proxy: [
    "message",
    "codec/kit",
    "codec/http",
    "codec/http2",
    "codec/websocket",
    "codec/mqtt",
    "codec/coap",
    "detect",
    "route",
    "balance",
    "resilience",
    "cache",
    "policy",
    "broker",
    "store",
    "ring",
    "tls",
    "dtls",
    "oscore",
    "directory",
    "listener",
    "upstream",
  ],
  node: ["proxy", "ring", "tls", "message", "codec/kit", "codec/mqtt", "codec/coap"],
}

/** Crates without I/O: no runtime, no socket. */
const PURE = [
  "message",
  "codec/kit",
  "codec/http",
  "codec/http2",
  "codec/websocket",
  "codec/mqtt",
  "codec/coap",
  "detect",
  "route",
  "balance",
  "resilience",
  "policy",
  "broker",
  "tls",
  "dtls",
  "oscore",
  "directory",
]

function sources(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(ending))
    .map((name) => join(root, folder, name))
}

function folderOf(file: string): string {
  return relative(join(root, "src"), file).split("/")[0] ?? ""
}

test("a folder of src/ imports only from folders above it", (t) => {
  for (const file of sources("src", ".ts")) {
    const place = FOLDERS.indexOf(folderOf(file))
    t.not(place, -1, `${relative(root, file)} stands in no folder of the list`)
    for (const [, target = ""] of readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)) {
      const imported = FOLDERS.indexOf(folderOf(resolve(dirname(file), target)))
      t.true(imported <= place, `${relative(root, file)} imports ${target}`)
    }
  }
})

test("a folder is entered by its index, where it has one", (t) => {
  const withIndex = new Set(
    FOLDERS.filter((folder) => sources("src", ".ts").includes(join(root, "src", folder, "index.ts"))),
  )
  for (const file of sources("src", ".ts")) {
    for (const [, target = ""] of readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)) {
      const folder = folderOf(resolve(dirname(file), target))
      if (folder === folderOf(file) || !withIndex.has(folder)) continue
      t.true(target.endsWith(`${folder}/index.ts`), `${relative(root, file)} reaches into ${target}`)
    }
  }
})

test("only src/native loads the addon", (t) => {
  for (const file of sources("src", ".ts")) {
    if (folderOf(file) === "native") continue
    const text = readFileSync(file, "utf8")
    t.false(/\.node["'`]/.test(text), relative(root, file))
    // What the build made of the configuration's schema is loaded there.
    if (relative(root, file) !== "src/config/shape.ts") t.false(text.includes("createRequire"), relative(root, file))
  }
})

test("a crate depends only on the crates it may", (t) => {
  for (const [crate, allowed] of Object.entries(CRATES)) {
    const manifest = readFileSync(join(root, "crates", crate, "Cargo.toml"), "utf8")
    const names = new Set(allowed.map((name) => `tidegate-${name.split("/").at(-1)}`))
    const [, dependencies = ""] = /^\[dependencies\]\n([\s\S]*?)(?=^\[|(?![\s\S]))/m.exec(manifest) ?? []
    for (const [, name = ""] of dependencies.matchAll(/^(tidegate-[a-z]+)/gm))
      t.true(names.has(name), `${crate} depends on ${name}`)
    if (PURE.includes(crate)) t.notRegex(dependencies, /^(tokio|socket2|libc|mio)\b/m, `${crate} does I/O`)
  }
})

test("every crate of the workspace stands in the table, in the order of the flow", (t) => {
  const manifest = readFileSync(join(root, "Cargo.toml"), "utf8")
  const [, members = ""] = /members = \[([\s\S]*?)\]/.exec(manifest) ?? []
  t.deepEqual(
    [...members.matchAll(/"crates\/([^"]+)"/g)].map(([, name]) => name),
    Object.keys(CRATES),
  )
})

/** The files that importing `entry` runs, and the libraries. */
function reached(entry: string): { readonly files: Set<string>; readonly libraries: Set<string> } {
  const [files, libraries] = [new Set<string>(), new Set<string>()]
  const visit = (file: string): void => {
    if (files.has(file)) return
    files.add(file)
    const code = readFileSync(file, "utf8")
    for (const [, names = "", target = ""] of code.matchAll(/^(?:import|export)\s([^"';]*?)from "([^"]+)"/gm)) {
      if (/^type\b/.test(names)) continue
      if (target.startsWith(".")) visit(resolve(dirname(file), target))
      else if (!target.startsWith("node:")) libraries.add(target)
    }
  }
  visit(join(root, entry))
  return { files, libraries }
}

test("importing the package runs no library and not the addon", (t) => {
  const { files, libraries } = reached("src/index.ts")
  t.deepEqual([...libraries], [])
  t.true(files.has(join(root, "src/route/match.ts")))
})

test("a start runs no library of gRPC: that is left to the first call", (t) => {
  const libraries = [...reached("src/cli/serve.ts").libraries]
  t.true(libraries.includes("fastify"))
  t.deepEqual(
    libraries.filter((name) => /connectrpc|bufbuild|grpc/.test(name)),
    [],
  )
})
