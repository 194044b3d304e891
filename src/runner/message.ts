/**
 * The facade over a decision record: fields by name, and a clear error for a field
 * that was not declared, since it never left the native side.
 */
import { TidegateError } from "../errors.ts"
import type { Attribute } from "../model/match.ts"
import type { MessageCertificate, PolicyMessage } from "../model/message.ts"
import type { FieldPlan } from "../native/index.ts"

/** The message of one decision. `values` stand in the order of `reads`. */
export function createPolicyMessage(
  reads: readonly FieldPlan[],
  values: readonly (string | null)[],
  payload: () => Buffer | null = () => null,
): PolicyMessage {
  return new DecisionMessage(reads, values, payload)
}

/** A class, since one is made for each decision: its accessors are shared. */
class DecisionMessage implements PolicyMessage {
  readonly #reads: readonly FieldPlan[]
  readonly #values: readonly (string | null)[]

  readonly #fetch: () => Buffer | null
  #payload: Buffer | null | undefined

  constructor(reads: readonly FieldPlan[], values: readonly (string | null)[], fetch: () => Buffer | null) {
    this.#reads = reads
    this.#values = values
    this.#fetch = fetch
  }

  get protocol(): string {
    return this.#find("protocol", null) ?? "unknown"
  }

  get method(): string | null {
    return this.#find("method", null)
  }

  get host(): string | null {
    return this.#find("host", null)
  }

  get path(): string | null {
    return this.#find("path", null)
  }

  get topic(): string | null {
    return this.#find("topic", null)
  }

  get clientId(): string | null {
    return this.#find("clientId", null)
  }

  get contentType(): string | null {
    return this.#find("contentType", null)
  }

  get user(): string | null {
    return this.#find("user", null)
  }

  get certificate(): MessageCertificate | null {
    const text = this.#find("certificate", null)
    if (text === null) return null
    const [fingerprint = "", subject = "", ...lines] = text.split("\n")
    const names = lines.map((line) => {
      const colon = line.indexOf(":")
      const kind = line.slice(0, colon) as MessageCertificate["names"][number]["kind"]
      return { kind, name: line.slice(colon + 1) }
    })
    return { fingerprint, subject, names }
  }

  get source(): string | null {
    return this.#find("source", null)
  }

  header(name: string): string | null {
    return this.#find("header", name.toLowerCase())
  }

  query(name: string): string | null {
    return this.#find("query", name)
  }

  cookie(name: string): string | null {
    return this.#find("cookie", name)
  }

  attribute(name: Attribute): string | null {
    return this.#find(name, null)
  }

  get payload(): Buffer | null {
    // Throws where it was not declared: native did not keep it then.
    this.#find("payload", null)
    if (this.#payload === undefined) this.#payload = this.#fetch()
    return this.#payload
  }

  text(): string | null {
    return this.payload?.toString("utf8") ?? null
  }

  json(): unknown {
    return JSON.parse(this.text() ?? "null")
  }

  #find(field: FieldPlan["field"], name: string | null): string | null {
    const index = this.#reads.findIndex((read) => read.field === field && read.name === name)
    if (index === -1) throw notDeclared(field, name)
    return this.#values[index] ?? null
  }
}

function notDeclared(field: string, name: string | null): TidegateError {
  const wanted = name === null ? `"${field}"` : `{ ${field}: "${name}" }`
  return new TidegateError("POLICY_FIELD_NOT_DECLARED", `the policy reads ${wanted} without declaring it`, {
    hint: `add reads: () => [${wanted}] to the policy`,
  })
}
