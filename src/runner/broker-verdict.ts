/** The part of a verdict that only the broker knows, checked and turned into what Rust reads. */
import { TidegateError } from "../errors.ts"
import type { BrokerChanges, VerdictChanges } from "../model/message.ts"
import type { FieldPlan } from "../native/index.ts"
import { PSK_MAX, toHex } from "../policy/index.ts"

/** See `crates/policy/src/changes.rs`. */
export interface BrokerRecord {
  reason?: number
  drop?: boolean
  topic?: string
  retain?: boolean
  qos?: number
  /** Another payload stands beside the verdict. */
  payload?: boolean
  clientId?: string
  user?: string
  /** Hexadecimal digits. */
  psk?: string
  tenant?: string
  superuser?: boolean
  acl?: unknown
  keepAliveS?: number
  sessionExpiryS?: number
}

const isText = (value: unknown): boolean => typeof value === "string" && value !== "" && !value.includes("\0")
const isFlag = (value: unknown): boolean => typeof value === "boolean"
const within = (most: number) => (value: unknown) =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most

/** What each field may hold. */
const CHECKS: Readonly<Record<keyof BrokerChanges, (value: unknown) => boolean>> = {
  drop: isFlag,
  topic: isText,
  payload: (value) => typeof value === "string" || (typeof value === "object" && value !== null),
  retain: isFlag,
  qos: within(2),
  clientId: isText,
  user: isText,
  superuser: isFlag,
  psk: (value) => value instanceof Uint8Array || typeof value === "string",
  acl: (value) => Array.isArray(value) && value.length <= 256 && value.every(isRule),
  tenant: isText,
  keepAliveS: within(65_535),
  sessionExpiryS: within(4_294_967_295),
}

export const BROKER_FIELDS = Object.keys(CHECKS) as readonly (keyof BrokerChanges)[]

/** The record, or null where a verdict says nothing of this. */
export function toBrokerRecord(changes: VerdictChanges): BrokerRecord | null {
  const given = BROKER_FIELDS.filter((field) => changes[field] !== undefined)
  for (const field of given) if (!CHECKS[field](changes[field])) refuse(field, changes[field])
  const reason = typeof changes.reject === "object" ? changes.reject.reason : undefined
  if (reason !== undefined && !(within(255)(reason) && reason >= 128)) refuse("reject.reason", reason)
  if (given.length === 0 && reason === undefined) return null
  const record: BrokerRecord = Object.fromEntries(given.map((field) => [field, changes[field]]))
  if (changes.payload !== undefined) record.payload = true
  if (changes.psk !== undefined) record.psk = digitsOf(changes.psk)
  if (reason !== undefined) record.reason = reason
  return record
}

/** The bytes of a verdict's payload, or null. Native keeps a place for them where `payload` is declared. */
export function payloadOf(value: unknown, reads: readonly FieldPlan[]): Buffer | null {
  const payload = typeof value === "object" && value !== null ? (value as BrokerChanges).payload : undefined
  if (payload === undefined) return null
  if (!reads.some(({ field }) => field === "payload")) {
    throw new TidegateError("POLICY_VERDICT_INVALID", 'another payload needs reads: () => ["payload"]')
  }
  if (payload instanceof Uint8Array) return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
  return Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload), "utf8")
}

/** The key; it stands in no error. */
function digitsOf(key: string | Uint8Array): string {
  const digits = typeof key === "string" ? toHex(key) : Buffer.from(key).toString("hex")
  if (digits.length === 0 || digits.length > 2 * PSK_MAX) {
    throw new TidegateError("POLICY_VERDICT_INVALID", `psk must be 1 to ${PSK_MAX} bytes`)
  }
  return digits
}

function isRule(rule: unknown): boolean {
  if (typeof rule !== "object" || rule === null) return false
  const { allow, deny, topic, ...rest } = rule as Record<string, unknown>
  const isAction = (action: unknown): boolean => ["publish", "subscribe", "all"].includes(action as string)
  return (
    (isAction(allow) ? deny === undefined : allow === undefined && isAction(deny)) &&
    isText(topic) &&
    Object.keys(rest).length === 0
  )
}

function refuse(field: string, value: unknown): never {
  if (field === "psk") throw new TidegateError("POLICY_VERDICT_INVALID", "psk must be text or bytes")
  throw new TidegateError("POLICY_VERDICT_INVALID", `${field} must not be ${JSON.stringify(value) ?? typeof value}`)
}
