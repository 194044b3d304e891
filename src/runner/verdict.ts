/**
 * A policy's return value, checked and turned into the record Rust reads. Anything
 * that is no verdict throws POLICY_VERDICT_INVALID: the fallback holds then, counted.
 */
import { TidegateError } from "../errors.ts"
import type { VerdictChanges } from "../model/message.ts"
import { BROKER_FIELDS, type BrokerRecord, toBrokerRecord } from "./broker-verdict.ts"

/** What a policy decided. */
export interface VerdictRecord {
  action: "continue" | "reject"
  status?: number
  body?: string
  setHeaders?: [name: string, value: string][]
  removeHeaders?: string[]
  upstream?: string
  hashKey?: string
  path?: string
  noCache?: boolean
  broker?: BrokerRecord
}

const FIELDS = new Set([
  "reject",
  "setHeaders",
  "removeHeaders",
  "upstream",
  "hashKey",
  "path",
  "cache",
  ...BROKER_FIELDS,
])
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: a header value must not carry them
const UNSAFE_VALUE = /[\u0000-\u0008\u000a-\u001f\u007f]/

const UNCHANGED = '{"action":"continue"}'

/** The answer in a decision slot for whatever `decide` returned: its record as JSON, nothing where it changes nothing. */
export function toAnswer(value: unknown): string {
  if (value === undefined || value === "continue" || isEmpty(value)) return ""
  const text = JSON.stringify(toVerdictRecord(value))
  return text === UNCHANGED ? "" : text
}

/** The JSON of an answer's record. */
export function ofAnswer(answer: string): string {
  return answer || UNCHANGED
}

/** The record for whatever `decide` returned. */
export function toVerdictRecord(value: unknown): VerdictRecord {
  if (value === undefined || value === null || value === "continue") return { action: "continue" }
  if (value === "reject") return { action: "reject", status: 403 }
  if (typeof value !== "object" || Array.isArray(value)) return refuse(`a ${typeof value} is no verdict`)
  const unknown = Object.keys(value).find((key) => !FIELDS.has(key))
  if (unknown !== undefined) return refuse(`"${unknown}" is no field of a verdict`)
  const changes = value as VerdictChanges
  const record: VerdictRecord = { action: "continue" }
  if (changes.reject !== undefined) applyReject(record, changes.reject)
  if (changes.setHeaders !== undefined) record.setHeaders = headers(changes.setHeaders)
  if (changes.removeHeaders !== undefined) record.removeHeaders = names(changes.removeHeaders)
  if (changes.upstream !== undefined) record.upstream = text("upstream", changes.upstream)
  if (changes.hashKey !== undefined && changes.hashKey !== null) record.hashKey = text("hashKey", changes.hashKey)
  if (changes.path !== undefined) record.path = path(changes.path)
  if (changes.cache === false) record.noCache = true
  const broker = toBrokerRecord(changes)
  if (broker !== null) record.broker = broker
  return record
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && (value === null || (Object.keys(value).length === 0 && !Array.isArray(value)))
}

function applyReject(record: VerdictRecord, reject: unknown): void {
  record.action = "reject"
  record.status = 403
  if (reject === true) return
  if (typeof reject !== "object" || reject === null) return refuse("reject must be true or { status, reason, body }")
  const { status = 403, body } = reject as { status?: unknown; body?: unknown }
  if (typeof status !== "number" || !Number.isInteger(status) || status < 400 || status > 599) {
    return refuse("reject.status must be 400 to 599")
  }
  record.status = status
  if (body !== undefined) record.body = text("reject.body", body)
}

function headers(value: unknown): [string, string][] {
  if (typeof value !== "object" || value === null) return refuse("setHeaders must be an object")
  return Object.entries(value).map(([name, content]) => {
    if (!TOKEN.test(name)) refuse(`"${name}" is no header name`)
    if (typeof content !== "string" || UNSAFE_VALUE.test(content)) refuse(`the value of ${name} is no header value`)
    return [name, content as string]
  })
}

function names(value: unknown): string[] {
  const valid = Array.isArray(value) && value.every((name) => typeof name === "string" && TOKEN.test(name))
  return valid ? (value as string[]) : refuse("removeHeaders must be a list of header names")
}

function path(value: unknown): string {
  const given = text("path", value)
  return given.startsWith("/") && !/[\s#]/.test(given)
    ? given
    : refuse("path must start with a slash and have no spaces")
}

function text(field: string, value: unknown): string {
  return typeof value === "string" ? value : refuse(`${field} must be a string`)
}

function refuse(why: string): never {
  throw new TidegateError("POLICY_VERDICT_INVALID", why)
}
