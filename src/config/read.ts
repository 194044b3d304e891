/**
 * Reads a configuration file of any form: YAML and JSON by their parser, TypeScript
 * and JavaScript by importing them afresh each time.
 */
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
  const modules = await importModules(parsed.raw, folder)
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
  try {
    return readFileSync(file, "utf8")
  } catch (error) {
    throw new TidegateError("CONFIG_UNREADABLE", `${file} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}

async function parseText(file: string, source: string): Promise<Parsed> {
  const { raw, problems, linesOf } = await parseDocument(source)
  if (problems.length === 0) return { raw, linesOf }
  const form = extname(file).slice(1)
  const found = (form === "json" && jsonFault(source)) || problems
  throw new TidegateError("CONFIG_INVALID", `${file} is no valid ${form}`, { problems: found })
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
  if (!("default" in exported)) {
    const message = "there is no default export: write export default defineConfig({ ... })"
    throw new TidegateError("CONFIG_INVALID", `${file}: ${message}`, { problems: [{ path: "", message }] })
  }
  const given = exported.default
  const raw: unknown = typeof given === "function" ? await (given as () => unknown)() : given
  const lineOf = sourceLines(source)
  return { raw, linesOf: async (paths) => paths.map(lineOf) }
}

/** Policies and handlers of the modules that `policies` and `handlers` name. */
async function importModules(raw: unknown, folder: string): Promise<unknown[]> {
  const { policies, handlers } = (raw ?? {}) as { policies?: unknown; handlers?: unknown }
  const paths = [policies, handlers].flat().filter((name) => typeof name === "string" && isModulePath(name))
  const modules = await Promise.all(paths.map((path) => importFresh(resolve(folder, path as string))))
  return modules.flatMap((module) => Object.values(module) as unknown[])
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
  const message = messageOf(error).split("\n")[0] ?? ""
  const problem = { path: "", message, ...(line !== undefined && { line: Number(line) }) }
  return new TidegateError("CONFIG_INVALID", `${file}: ${message}`, { cause: error, problems: [problem] })
}
