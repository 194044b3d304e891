/**
 * Shape of a configuration against its schema: all faults at once, each with the
 * value seen. Where a value may have several forms, only the form it comes nearest to
 * is complained about.
 */
import type { ErrorObject } from "ajv"
import { pieces, type Turns } from "../turns.ts"
import { didYouMean } from "./nearest.ts"
import { type Path, parsePointer, valueAt } from "./path.ts"
import { ConfigSchema } from "./schema/index.ts"
import { shapeCheck } from "./shape.ts"

/** A fault of the shape or the meaning, before it has a line. */
export interface Fault {
  readonly path: Path
  readonly message: string
  readonly severity?: "warning"
}

const check = shapeCheck()

/** Routes that are looked at together. */
const ROUTES = 64

/** Every fault of the shape. */
export function* shapeFaults(data: unknown): Turns<Fault[]> {
  const routes = (data as { readonly routes?: unknown } | null | undefined)?.routes
  if (!Array.isArray(routes) || routes.length <= ROUTES) return faultsOf(data)
  const faults = faultsOf({ ...(data as object), routes: [] })
  for (const { piece, from } of pieces(routes, ROUTES)) {
    yield
    for (const fault of faultsOf({ routes: piece })) {
      const [key, index, ...rest] = fault.path
      const path = typeof index === "number" ? [key ?? "routes", index + from, ...rest] : fault.path
      faults.push({ ...fault, path })
    }
  }
  return faults
}

function faultsOf(data: unknown): Fault[] {
  if (check(data)) return []
  const errors = (check.errors ?? []).map((error) => withContext(error, data))
  const faults = reduce(errors).map((error) => toFault(error, data))
  return [...new Map(faults.map((fault) => [`${fault.path.join("/")} ${fault.message}`, fault])).values()]
}

/** An error with the value it complains about and the parts of the schema that do. */
function withContext(error: ErrorObject, root: unknown): ErrorObject {
  const around = parsePointer(decodeURIComponent(error.schemaPath), ConfigSchema)
  return {
    ...error,
    data: valueAt(parsePointer(error.instancePath, root), root),
    schema: valueAt(around, ConfigSchema),
    parentSchema: valueAt(around.slice(0, -1), ConfigSchema) as ErrorObject["parentSchema"],
  }
}

/** Replaces the errors of all branches of a union by those of the likeliest branch. */
function reduce(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const found: ErrorObject[] = []
  let rest = errors
  for (let schemaPath = outermost(rest); schemaPath !== null; schemaPath = outermost(rest)) {
    // The same union of the schema at every place of the data, so that a thousand wrong entries are one turn.
    const unions = new Map<string, { readonly union: ErrorObject; readonly inside: ErrorObject[] }>()
    for (const error of rest) {
      if (error.keyword === "anyOf" && error.schemaPath === schemaPath)
        unions.set(error.instancePath, { union: error, inside: [] })
    }
    const outside: ErrorObject[] = []
    for (const error of rest) {
      if (unions.get(error.instancePath)?.union === error) continue
      const isBelow = error.schemaPath.startsWith(`${schemaPath}/`)
      const around = isBelow ? ancestors(error.instancePath).find((path) => unions.has(path)) : undefined
      const inside = around === undefined ? outside : (unions.get(around)?.inside ?? outside)
      inside.push(error)
    }
    for (const { union, inside } of unions.values()) found.push(...likeliest(union, inside))
    rest = outside
  }
  return [...found, ...rest]
}

/** The schema's path of the union that is in no other; null: there is none. */
function outermost(errors: readonly ErrorObject[]): string | null {
  let least: string | null = null
  for (const { keyword, schemaPath } of errors)
    if (keyword === "anyOf" && (least === null || schemaPath.length < least.length)) least = schemaPath
  return least
}

/** `/a/b`: `/a/b`, `/a`, and the root. */
function ancestors(pointer: string): string[] {
  const parts = pointer.split("/")
  return parts.map((_, index) => parts.slice(0, parts.length - index).join("/"))
}

function likeliest(union: ErrorObject, inside: readonly ErrorObject[]): readonly ErrorObject[] {
  const branches = new Map<string, ErrorObject[]>()
  for (const error of inside) {
    const branch = error.schemaPath.slice(union.schemaPath.length + 1).split("/")[0] ?? ""
    const errors = branches.get(branch) ?? []
    errors.push(error)
    branches.set(branch, errors)
  }
  const ranked = [...branches.values()]
    .map((branch) => ({ branch, rank: rank(branch, union) }))
    .sort((a, b) => a.rank - b.rank)
  const [best] = ranked
  return best === undefined || best.rank >= MISFIT ? [union] : reduce(best.branch)
}

const MISFIT = 1_000_000

/** Lower is likelier; a branch of another type does not count at all. */
function rank(branch: readonly ErrorObject[], union: ErrorObject): number {
  const top = branch.filter(({ instancePath }) => instancePath === union.instancePath)
  if (top.some(({ keyword }) => keyword === "type" || keyword === "const")) return MISFIT
  const choice = top.find(({ keyword }) => keyword === "enum")
  if (choice === undefined) return branch.length
  const values = choice.params.allowedValues as unknown[]
  return values.every((value) => typeof value === typeof union.data) ? 1_000 : MISFIT
}

function toFault(error: ErrorObject, root: unknown): Fault {
  const path = parsePointer(error.instancePath, root)
  if (error.keyword === "additionalProperties") {
    const key = String(error.params.additionalProperty)
    const known = Object.keys((error.parentSchema?.properties ?? {}) as object)
    const hint = didYouMean(key, known) || `; known here: ${known.join(", ")}`
    return { path: [...path, key], message: `"${key}" is not known here${hint}` }
  }
  if (error.keyword === "required") {
    return { path, message: `"${String(error.params.missingProperty)}" is missing` }
  }
  if (/^min(Length|Items)$/.test(error.keyword) && error.params.limit === 1)
    return { path, message: "must not be empty" }
  return { path, message: `${expectation(error)}, got ${seen(error.data)}${choices(error)}` }
}

/** The nearest of the values that may be chosen. */
function choices({ keyword, params, data }: ErrorObject): string {
  if (keyword !== "enum" || typeof data !== "string") return ""
  return didYouMean(data, (params.allowedValues as unknown[]).map(String))
}

function expectation({ keyword, params, schema, parentSchema, message = "is wrong" }: ErrorObject): string {
  if (keyword === "type") return `expected ${String(params.type)}${keysOf(parentSchema)}`
  if (keyword === "pattern") return `expected ${PATTERNS[String(schema)] ?? `text of the form ${String(schema)}`}`
  if (keyword === "const") return `expected ${JSON.stringify(params.allowedValue)}`
  if (keyword === "enum") return `expected one of ${(params.allowedValues as unknown[]).join(", ")}`
  if (keyword === "anyOf") return `expected ${(schema as object[]).map(describe).join(" or ")}`
  if (keyword === "minimum" || keyword === "maximum") return range(parentSchema as Bounds, message)
  return message
}

/** What the patterns of the schema ask for, in words. */
const PATTERNS: Readonly<Record<string, string>> = {
  "^/": "a path, which begins with /",
  "^/[^?#]*$": "a path, which begins with /",
  "^https?://": "a URL, http:// or https://",
  "^https?://[^/]": "a URL, http:// or https://",
  "^(mqtts?|wss?)://[^/?#]+.*$": "mqtt://, mqtts://, ws:// or wss://, and HOST:PORT",
  "^[^+#]*$": "no wildcard",
}

/** Most keys that are named of an object. */
const KEYS = 6

function keysOf(schema: ErrorObject["parentSchema"]): string {
  const keys = Object.keys((schema?.properties ?? {}) as object).filter((key) => !key.startsWith("$"))
  if (keys.length === 0) return ""
  return ` with ${keys.slice(0, KEYS).join(", ")}${keys.length > KEYS ? ", ..." : ""}`
}

interface Bounds {
  readonly minimum?: number
  readonly maximum?: number
}

function range({ minimum, maximum }: Bounds, otherwise: string): string {
  return minimum === undefined || maximum === undefined ? otherwise : `must be ${minimum} to ${maximum}`
}

function describe(schema: { type?: string; const?: unknown; enum?: unknown[]; properties?: object }): string {
  if (schema.const !== undefined) return JSON.stringify(schema.const)
  if (schema.enum !== undefined) return `one of ${schema.enum.join(", ")}`
  if (schema.properties !== undefined) return `{ ${Object.keys(schema.properties).join(", ")} }`
  return schema.type ?? "another value"
}

/** The value as it may be printed: short; the shape of containers only. */
export function seen(value: unknown): string {
  if (value === null || value === undefined) return String(value)
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === "object") return `an object with ${Object.keys(value).slice(0, 5).join(", ") || "no keys"}`
  const text = JSON.stringify(value) ?? typeof value
  return text.length > 80 ? `${text.slice(0, 77)}...` : text
}
