/**
 * From what was read to a configuration the gateway can use, or to every problem it
 * has. Nothing here changes anything outside.
 */
import { dirname, join } from "node:path"
import { type Problem, TidegateError } from "../errors.ts"
import { type Functions, NO_FUNCTIONS } from "../policy/index.ts"
import { atOnce, inTurns, type Turns } from "../turns.ts"
import { meaningFaults } from "./check.ts"
import { foreignCommands } from "./check-upstreams.ts"
import { doubts } from "./doubts.ts"
import { type SplitConfig, splitFunctions } from "./functions.ts"
import { ConfigHistory } from "./history.ts"
import { normalize } from "./normalize.ts"
import type { NormalizedConfig } from "./normalized.ts"
import { formatPath, type Path } from "./path.ts"
import type { LinesOf } from "./positions.ts"
import { findConfig, type ReadConfig, readConfig } from "./read.ts"
import type { ConfigData } from "./schema/index.ts"
import { type Fault, shapeFaults } from "./validate.ts"

/** A configuration that may be applied. */
export interface LoadedConfig {
  readonly config: NormalizedConfig
  /** As the user wrote it, functions by name, secrets as references. */
  readonly data: ConfigData
  readonly functions: Functions
  readonly file: string | null
  readonly warnings: readonly Problem[]
}

/** Loads the named file, or the first default one, or the defaults where there is none. */
export async function loadConfig(named?: string, folder?: string): Promise<LoadedConfig> {
  const file = findConfig(named, folder)
  return file === null ? loadData({}) : accept(await readConfig(file))
}

/**
 * The newest configuration of the file's default data directory; null where there is none that still
 * fits. Functions are not kept: a configuration that names some has no last good one on disk.
 */
export function loadLastGood(named?: string): LoadedConfig | null {
  const file = findConfig(named)
  if (file === null) return null
  const folder = dirname(file)
  const { latest } = new ConfigHistory(join(folder, ".tidegate", "config"))
  if (latest === null) return null
  try {
    return settle(atOnce(judge({ data: latest.data, functions: NO_FUNCTIONS, file, folder })), [])
  } catch {
    return null
  }
}

/** What a source without a file brings along. */
export interface DataContext {
  readonly folder?: string
  readonly functions?: Functions
  /** The local file's data, where the value comes from elsewhere: only from there come commands to run. */
  readonly local?: ConfigData
}

/** Loads a configuration given as a value: by a program, or over the admin API with the file's functions. */
export function loadData(raw: unknown, context: DataContext = {}): LoadedConfig {
  return settle(atOnce(judgeData(raw, context)), [])
}

/** `loadData` that lets everything else have its turn: a configuration may be long. */
export async function loadDataInTurns(raw: unknown, context: DataContext = {}): Promise<LoadedConfig> {
  return settle(await inTurns(judgeData(raw, context)), [])
}

function* judgeData(raw: unknown, { folder = process.cwd(), functions, local }: DataContext): Turns<Judged> {
  const split: SplitConfig = functions === undefined ? yield* splitFunctions(raw) : { data: raw, functions }
  return yield* judge({ ...split, file: null, folder }, local)
}

/** The lines of a file's faults are looked up only when there are some. */
async function accept({ linesOf, ...read }: ReadConfig): Promise<LoadedConfig> {
  const judged = await inTurns(judge(read))
  return settle(judged, await lines(judged, linesOf))
}

async function lines({ faults }: Judged, linesOf: LinesOf): Promise<readonly (number | undefined)[]> {
  return faults.length === 0 ? [] : linesOf(faults.map(({ path }) => path))
}

/** The same, but what is loaded already is taken as it is. */
export async function toLoaded(config: unknown): Promise<LoadedConfig> {
  const isLoaded = typeof config === "object" && config !== null && "config" in config && "functions" in config
  return isLoaded ? (config as LoadedConfig) : loadDataInTurns(config)
}

/** A configuration and what is wrong with it. */
interface Judged {
  readonly file: string | null
  /** Without one the faults are errors, else warnings. */
  readonly loaded: Omit<LoadedConfig, "warnings"> | null
  readonly faults: readonly Fault[]
}

function* judge(read: Omit<ReadConfig, "linesOf">, local?: ConfigData): Turns<Judged> {
  const { file, folder, functions } = read
  const shape = yield* shapeFaults(read.data)
  const data = read.data as ConfigData
  const malformed = shape.length > 0
  const faults = isObject(data) ? yield* meaningFaults(data, functions, malformed) : []
  if (local !== undefined && !malformed) faults.push(...foreignCommands(data, local))
  const said = new Set(shape.map(({ path }) => path.join("/")))
  const errors = [...shape, ...faults.filter(({ path, severity }) => severity !== "warning" && !isInside(path, said))]
  if (errors.length > 0) return { file, loaded: null, faults: errors }
  const late: Fault[] = []
  const config = yield* normalize(data, { folder, report: (path, message) => late.push({ path, message }) })
  if (late.length > 0) return { file, loaded: null, faults: late }
  return { file, loaded: { config, data, functions, file }, faults: [...faults, ...doubts(config, data)] }
}

/** Throws CONFIG_INVALID with every problem. */
function settle({ file, loaded, faults }: Judged, lines: readonly (number | undefined)[]): LoadedConfig {
  const problems = faults.map((fault, index) => toProblem(fault, lines[index]))
  if (loaded !== null) return { ...loaded, warnings: problems }
  problems.sort((a, b) => (a.line ?? 0) - (b.line ?? 0))
  const count = problems.length === 1 ? "one problem" : `${problems.length} problems`
  const first = problems[0]
  const text = `${file ?? "the configuration"} has ${count}, first: ${first?.path || "(top)"}: ${first?.message}`
  throw new TidegateError("CONFIG_INVALID", text, { problems, ...(file !== null && { file }) })
}

function isObject(data: unknown): boolean {
  return typeof data === "object" && data !== null && !Array.isArray(data)
}

/** Whether a fault repeats what a fault of the shape at or above the same place says. */
function isInside(path: Path, said: ReadonlySet<string>): boolean {
  return path.some((_, index) => said.has(path.slice(0, index + 1).join("/")))
}

function toProblem({ path, message, severity }: Fault, line: number | undefined): Problem {
  return { path: formatPath(path), message, ...(line !== undefined && { line }), ...(severity && { severity }) }
}
