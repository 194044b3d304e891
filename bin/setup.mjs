// Makes a clone ready: packages, the native addon, dist/. Needs Node and Rust and
// nothing else; does only what is not up to date. Options: --native or --ts for one
// part; none: all. Imported by start.mjs and test.mjs.
import { spawnSync } from "node:child_process"
import { copyFileSync, existsSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath, pathToFileURL } from "node:url"

export const root = fileURLToPath(new URL("../", import.meta.url))
const LIBRARY = { linux: "libtidegate_node.so", darwin: "libtidegate_node.dylib", win32: "tidegate_node.dll" }

/** Runs a command in the root with its output shown; ends this process when it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    shell: process.platform === "win32",
    ...options,
  })
  if (error?.code === "ENOENT") fail(`${command} is not installed${hintFor(command)}`)
  if (status !== 0) process.exit(status ?? 1)
}

/** Ends this process with a message. 2: something of the environment is missing. */
export function fail(message) {
  process.stderr.write(`${message}\n`)
  process.exit(2)
}

/** Whether a program is on the PATH. */
export function has(program) {
  const folders = (process.env.PATH ?? "").split(process.platform === "win32" ? ";" : ":")
  return folders.some((folder) => existsSync(join(folder, program)) || existsSync(join(folder, `${program}.exe`)))
}

export function setup({ native = true, ts = true } = {}) {
  checkNode()
  installPackages()
  if (native) buildNative()
  if (ts) buildTypeScript()
}

function hintFor(command) {
  return command === "cargo"
    ? "; install Rust 1.88 or newer, for example: apt-get install rustup && rustup default stable"
    : ""
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
  const fits = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22
  if (!fits) fail(`tidegate needs Node ^20.19 or >=22.12, this is ${process.versions.node}`)
}

function installPackages() {
  const stamp = join(root, "node_modules", ".package-lock.json")
  const wanted = Math.max(changed(join(root, "package.json")), changed(join(root, "package-lock.json")))
  if (changed(stamp) >= wanted) return
  say("installing packages")
  run("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], {
    // Standard output belongs to who called.
    stdio: ["ignore", process.stderr.fd, "inherit"],
  })
  writeFileSync(join(root, "node_modules", ".tidegate"), "")
  // npm leaves the file alone when nothing was missing.
  if (existsSync(stamp)) touch(stamp)
}

/** DTLS where its library can be built: bindings are made with clang, the library by cmake. */
export function nativeFeatures(crate) {
  const builds = has("clang") && has("cmake") && (has("ninja") || has("make"))
  return builds ? ["--features", `${crate}/dtls`] : []
}

/** cargo knows what is up to date; the copy is a rename, since the old file may be in use. */
function buildNative() {
  const [target, addon] = [
    process.env.CARGO_TARGET_DIR ?? join(root, "target"),
    join(root, `tidegate.${platformName()}.node`),
  ]
  say(`building the native addon${existsSync(addon) ? "" : ", some minutes the first time"}`)
  const features = nativeFeatures("tidegate-node")
  if (features.length === 0) say("without DTLS, which needs clang, cmake and ninja or make")
  // Cargo's progress is for who watches.
  const quiet = process.stderr.isTTY ? [] : ["--quiet"]
  run("cargo", ["build", ...quiet, "--profile", "ci", "-p", "tidegate-node", ...features])
  const built = join(target, "ci", LIBRARY[process.platform] ?? LIBRARY.linux)
  if (changed(addon) >= changed(built)) return
  copyFileSync(built, `${addon}.${process.pid}`)
  renameSync(`${addon}.${process.pid}`, addon)
}

function buildTypeScript() {
  const stamp = join(root, "dist", ".built")
  const how = ["tsconfig.build.json", "bin/bundle.mjs"].map((name) => changed(join(root, name)))
  const newest = Math.max(newestIn(join(root, "src")), ...how)
  if (changed(stamp) >= newest) return
  say("compiling TypeScript")
  rmSync(join(root, "dist"), { recursive: true, force: true })
  run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", "tsconfig.build.json"])
  run(process.execPath, [join(root, "bin", "bundle.mjs")])
  run(process.execPath, [join(root, "bin", "dashboard.mjs")])
  // Whoever calls the registry by gRPC makes a client of it.
  copyFileSync(join(root, "src", "admin", "grpc", "registry.proto"), join(root, "dist", "registry.proto"))
  writeFileSync(stamp, "")
}

/** The same name as src/native/load.ts looks for. */
export function platformName() {
  const { platform, arch } = process
  if (platform === "win32") return `win32-${arch}-msvc`
  if (platform !== "linux") return `${platform}-${arch}`
  const abi = process.report.getReport().header?.glibcVersionRuntime === undefined ? "musl" : "gnu"
  return `linux-${arch}-${abi}${arch === "arm" ? "eabihf" : ""}`
}

function changed(path) {
  return existsSync(path) ? statSync(path).mtimeMs : 0
}

function newestIn(folder) {
  const times = readdirSync(folder, { recursive: true }).map((name) => changed(join(folder, name)))
  return Math.max(0, ...times)
}

function touch(path) {
  copyFileSync(path, `${path}.tmp`)
  renameSync(`${path}.tmp`, path)
}

function say(text) {
  process.stderr.write(`tidegate: ${text}\n`)
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const only = new Set(process.argv.slice(2))
  setup({ native: !only.has("--ts"), ts: !only.has("--native") })
}
