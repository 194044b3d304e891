/**
 * Finds and loads the addon: the platform package of an installation, or the file a
 * clone built at its root. Failing, it names platform, C library, what was looked for
 * and what to run. The only place that touches the binary.
 */
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import { messageOf, TidegateError } from "../errors.ts"
import type { NativeCodec, NativeModule } from "./native.ts"

const root = fileURLToPath(new URL("../../", import.meta.url))
const require = createRequire(import.meta.url)
/** All that the addon exports. */
type Addon = NativeModule & NativeCodec

let loaded: Addon | undefined

/** The platform's name as packages and files carry it: `linux-x64-gnu`. */
export function platformName(): string {
  const abi = process.platform === "linux" ? `-${libc()}` : process.platform === "win32" ? "-msvc" : ""
  const arm = process.platform === "linux" && process.arch === "arm" ? "eabihf" : ""
  return `${process.platform}-${process.arch}${abi}${arm}`
}

/** The addon; loaded once per thread. Throws NATIVE_MISSING. */
export function loadNative(): Addon {
  loaded ??= load()
  return loaded
}

function load(): Addon {
  const name = platformName()
  const named = process.env.TIDEGATE_NATIVE
  const path = named ?? `${root}tidegate.${name}.node`
  if (existsSync(path)) return requireAddon(path)
  const tried = [`${path} (not there)`]
  // Who names a file means that one and no other.
  if (named !== undefined) throw missing(name, tried)
  try {
    return require(`@tidegate/${name}`) as Addon
  } catch {
    tried.push(`package @tidegate/${name} (not installed)`)
  }
  throw missing(name, tried)
}

function requireAddon(path: string): Addon {
  try {
    return require(path) as Addon
  } catch (error) {
    throw missing(platformName(), [`${path} (${messageOf(error)})`])
  }
}

function missing(name: string, tried: readonly string[]): TidegateError {
  const text = `no native addon for ${name} (Node ${process.version}); looked for: ${tried.join("; ")}`
  const hint = existsSync(`${root}Cargo.toml`)
    ? "build it with: npm run build:native"
    : "install it with: npm install tidegate --include=optional"
  return new TidegateError("NATIVE_MISSING", text, { hint })
}

function libc(): "gnu" | "musl" {
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } }
  return report.header?.glibcVersionRuntime === undefined ? "musl" : "gnu"
}
