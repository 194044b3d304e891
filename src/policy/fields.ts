/**
 * Fields and keys as data: what a user writes (`{ header: "x-tenant" }`) and what the
 * plan carries (`{ field: "header", name: "x-tenant" }`).
 */
import type { Field, Key, Match } from "../model/match.ts"
import type { FieldPlan, KeyPlan } from "../native/index.ts"
import type { AnyPolicy } from "./definition.ts"

/** Read by every policy without being declared. */
const ALWAYS: readonly Field[] = ["method", "host", "path", "topic", "clientId", "protocol", "source"]

export const byHeader = (header: string): Key & Field => ({ header: header.toLowerCase() })
export const byQuery = (query: string): Key & Field => ({ query })
export const byCookie = (cookie: string): Key & Field => ({ cookie })

/** A user's key as plan data; `key` is the hash key a policy gave; of a list all parts count. */
export function toKeyPlan(key: Key | readonly Key[]): KeyPlan {
  if (isList(key)) {
    const [first = "key", ...also] = key
    return { ...toKeyPlan(first), also: also.map(toKeyPlan) }
  }
  if (key === "key") return { by: "hashKey", name: null }
  if (typeof key === "string") return { by: key, name: null }
  if ("header" in key) return { by: "header", name: key.header.toLowerCase() }
  if ("query" in key) return { by: "query", name: key.query }
  return { by: "cookie", name: key.cookie }
}

export function toFieldPlan(field: Field): FieldPlan {
  if (typeof field === "string") return { field, name: null }
  if ("header" in field) return { field: "header", name: field.header.toLowerCase() }
  if ("query" in field) return { field: "query", name: field.query }
  return { field: "cookie", name: field.cookie }
}

/** Everything one use of a policy may read, without doubles: this is copied into its decision records. */
export function fieldsOf(policy: AnyPolicy, options: Readonly<Record<string, unknown>>): readonly FieldPlan[] {
  const declared = policy.reads?.(options) ?? []
  const cached = policy.cache === undefined ? [] : keysOf(policy.cache(options).by).flatMap(fieldOfKey)
  const filtered = policy.filter === undefined ? [] : fieldsOfMatch(policy.filter(options))
  const fields = [...ALWAYS, ...declared, ...cached, ...filtered].map(toFieldPlan)
  return [...new Map(fields.map((field) => [`${field.field}:${field.name ?? ""}`, field])).values()]
}

function isList(key: Key | readonly Key[]): key is readonly Key[] {
  return Array.isArray(key)
}

function keysOf(key: Key | readonly Key[]): readonly Key[] {
  return isList(key) ? key : [key]
}

function fieldOfKey(key: Key): readonly Field[] {
  if (typeof key !== "string") return [key]
  if (key === "clientIp") return ["source"]
  return key === "key" || key === "route" ? [] : [key]
}

function fieldsOfMatch(match: Match): readonly Field[] {
  const headers = Object.keys(match.header ?? {}).map((header) => ({ header }))
  const query = Object.keys(match.query ?? {}).map((name) => ({ query: name }))
  return [...headers, ...query]
}
