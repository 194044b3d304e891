/**
 * Reads a configuration file of any form: YAML and JSON by their parser, TypeScript
 * and JavaScript by importing them afresh each time.
 */
import { isUtf8 } from "node:buffer"
import { existsSync, readFileSync } from "node:fs"
import { basename, dirname, extname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"
import { createJiti } from "jiti"
import { messageOf, type Problem, TidegateError } from "../errors.ts"
import { inTurns } from "../turns.ts"
import { isModulePath } from "./check.ts"
import { parseDocument } from "./document.ts"
import { type SplitConfig, splitFunctions } from "./functions.ts"
import { type LinesOf, sourceLines } from "./positions.ts"

/** Names tried in this order where none is given. */
export const CONFIG_NAMES = ["ts", "mts", "js", "mjs", "yaml", "yml", "json"].map((ext) => `tidegate.config.${ext}`)

/** A configuration as it was read. */
export interface ReadConfig extends SplitConfig {
  /** Absolute path; null for data that came from elsewhere. */
  readonly file: string | null
  /** Relative paths start here. */
  readonly folder: string
  readonly linesOf: LinesOf
}

const entry = fileURLToPath(new URL(`../index${extname(import.meta.url)}`, import.meta.url))

/** The file to use: the one named, or the first of the default names in `folder`; null when there is none. */
export function findConfig(named: string | undefined, folder = process.cwd()): string | null {
  if (named === undefined)
    return CONFIG_NAMES.map((name) => join(folder, name)).find((path) => existsSync(path)) ?? null
  const path = resolve(folder, named)
  if (!existsSync(path)) throw new TidegateError("CONFIG_NOT_FOUND", `${path} does not exist`)
  return path
}

/** Throws CONFIG_UNREADABLE or CONFIG_INVALID when it cannot be read, parsed or run. */
export async function readConfig(file: string): Promise<ReadConfig> {
  const source = readSource(file)
  const folder = dirname(file)
  const parsed = isProgram(file) ? await runProgram(file, source) : await parseText(file, source)
  const modules = await importModules(file, parsed)
  return { ...(await inTurns(splitFunctions(parsed.raw, modules))), file, folder, linesOf: parsed.linesOf }
}

interface Parsed {
  readonly raw: unknown
  readonly linesOf: LinesOf
}

function isProgram(file: string): boolean {
  return /\.[mc]?[jt]s$/.test(file)
}

function readSource(file: string): string {
  let bytes: Buffer
  try {
    bytes = readFileSync(file)
  } catch (error) {
    const isFolder = (error as NodeJS.ErrnoException).code === "EISDIR"
    const why = isFolder ? "it is a folder" : messageOf(error)
    throw new TidegateError("CONFIG_UNREADABLE", `${file} cannot be read: ${why}`, { cause: error })
  }
  if (isUtf8(bytes)) return bytes.toString("utf8")
  throw invalid(file, { path: "", message: "is no text in UTF-8" })
}

/** A file with one problem. */
function invalid(file: string, problem: Problem, cause?: unknown): TidegateError {
  return new TidegateError("CONFIG_INVALID", `${file}: ${problem.message}`, { cause, problems: [problem], file })
}

async function parseText(file: string, source: string): Promise<Parsed> {
  const { raw, problems, linesOf } = await parseDocument(source)
  // Under any other name it is taken for YAML, and is that in full or something else.
  const isSaid = /\.(ya?ml|json)$/i.test(file)
  if (!isSaid && (problems.length > 0 || typeof raw !== "object"))
    throw invalid(file, { path: "", message: "is no YAML, and its name tells no other kind: ts, mts, js, mjs, json" })
  if (problems.length === 0) return { raw, linesOf }
  const form = extname(file).slice(1)
  const found = (form === "json" && jsonFault(source)) || problems
  throw new TidegateError("CONFIG_INVALID", `${file} is no valid ${form}`, { problems: found, file })
}

/** What is wrong with it in words of JSON; what the parser of YAML says of braces means nothing to who writes JSON. */
function jsonFault(source: string): readonly Problem[] | null {
  try {
    JSON.parse(source)
    return null
  } catch (error) {
    const message = messageOf(error)
    const position = / at position (\d+)/.exec(message)?.[1]
    const before = source.trimEnd().slice(0, position === undefined ? undefined : Number(position))
    return [{ path: "", message: message.replace(/ in JSON at position .*/, ""), line: before.split("\n").length }]
  }
}

async function runProgram(file: string, source: string): Promise<Parsed> {
  const exported = await importFresh(file)
  // Read without looking, jiti gives the module itself for a default that is missing.
  if (!("default" in exported))
    throw invalid(file, { path: "", message: "there is no default export: write export default defineConfig({ ... })" })
  const raw = await madeBy(exported.default).catch((error: unknown) => {
    throw programFailed(file, error)
  })
  const lineOf = sourceLines(source)
  return { raw, linesOf: async (paths) => paths.map(lineOf) }
}

/** What a program exports, or what its function makes. */
async function madeBy(given: unknown): Promise<unknown> {
  return typeof given === "function" ? (given as () => unknown)() : given
}

/** Policies and handlers of the modules that `policies` and `handlers` name. */
async function importModules(file: string, { raw, linesOf }: Parsed): Promise<unknown[]> {
  const found: unknown[] = []
  for (const key of ["policies", "handlers"] as const) {
    for (const name of [(raw as Record<string, unknown> | null | undefined)?.[key]].flat()) {
      if (typeof name !== "string" || !isModulePath(name)) continue
      const path = resolve(dirname(file), name)
      const module = await importFresh(path).catch(async (error: unknown) => {
        if (!messageOf(error).endsWith(`Cannot find module '${path}'`)) throw error
        const [line] = await linesOf([[key]])
        throw invalid(file, { path: key, message: `${name} does not exist`, ...(line !== undefined && { line }) })
      })
      found.push(...(Object.values(module) as unknown[]))
    }
  }
  return found
}

async function importFresh(file: string): Promise<object> {
  const jiti = createJiti(file, { moduleCache: false, fsCache: false, alias: { tidegate: entry } })
  try {
    return await jiti.import<object>(file)
  } catch (error) {
    throw programFailed(file, error)
  }
}

/** A program that fails is a faulty configuration; its line is the innermost one in the file. */
function programFailed(file: string, error: unknown): TidegateError {
  const text = `${messageOf(error)}\n${error instanceof Error ? (error.stack ?? "") : ""}`
  const [, line] = new RegExp(`${basename(file).replaceAll(".", "\\.")}:(\\d+):\\d+`).exec(text) ?? []
  // An imported name is called as `(0, module.name)`.
  const message = (messageOf(error).split("\n")[0] ?? "").replace(/\(0 , [\w$]+\.([\w$]+)\)/g, "$1").trim()
  return invalid(file, { path: "", message, ...(line !== undefined && { line: Number(line) }) }, error)
}
