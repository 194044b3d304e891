/**
 * The facade over a decision record: fields by name, and a clear error for a field
 * that was not declared, since it never left the native side.
 */
import { TidegateError } from "../errors.ts"
import type { PolicyMessage } from "../model/message.ts"
import type { FieldPlan } from "../native/index.ts"

type Named = "header" | "query" | "cookie"

/** The message of one decision. `values` stand in the order of `reads`. */
export function createPolicyMessage(reads: readonly FieldPlan[], values: readonly (string | null)[]): PolicyMessage {
  const find = (field: FieldPlan["field"], name: string | null): string | null => {
    const index = reads.findIndex((read) => read.field === field && read.name === name)
    if (index === -1) throw notDeclared(field, name)
    return values[index] ?? null
  }
  const named = (field: Named) => (name: string) => find(field, field === "header" ? name.toLowerCase() : name)
  return {
    get protocol() {
      return find("protocol", null) ?? "unknown"
    },
    get method() {
      return find("method", null)
    },
    get host() {
      return find("host", null)
    },
    get path() {
      return find("path", null)
    },
    get topic() {
      return find("topic", null)
    },
    get clientId() {
      return find("clientId", null)
    },
    get contentType() {
      return find("contentType", null)
    },
    get user() {
      return find("user", null)
    },
    get source() {
      return find("source", null)
    },
    header: named("header"),
    query: named("query"),
    cookie: named("cookie"),
  }
}

function notDeclared(field: string, name: string | null): TidegateError {
  const wanted = name === null ? `"${field}"` : `{ ${field}: "${name}" }`
  return new TidegateError("POLICY_FIELD_NOT_DECLARED", `the policy reads ${wanted} without declaring it`, {
    hint: `add reads: () => [${wanted}] to the policy`,
  })
}
