/**
 * Who changed what over the admin API: one record for each call that may change something, kept in
 * memory and as lines of JSON in the data directory, told as a gateway event. `/v1/audit` shows them.
 */
import { appendFileSync, existsSync, readFileSync, renameSync, statSync } from "node:fs"
import type { FastifyInstance } from "fastify"
import Type, { type Static } from "typebox"
import { messageOf } from "../errors.ts"
import { AUDIT, items } from "./answers.ts"
import type { AdminContext } from "./context.ts"
import type { Caller } from "./identity.ts"

export interface AuditRecord {
  /** RFC 3339. */
  readonly at: string
  readonly caller: string
  readonly role: string
  readonly address: string
  readonly method: string
  readonly path: string
  readonly status: number
  /** Of the configuration, after the call. */
  readonly version: number
}

/** What of a call is recorded. */
export type AuditedCall = Pick<AuditRecord, "address" | "method" | "path" | "status"> & {
  /** Null: nobody that may call. */
  readonly caller: Caller | null
}

/** Records kept in memory; bytes of the file before it is set aside, as one older file. */
const KEPT = 1_000
const FILE_BYTES = 8 * 1024 * 1024

const READS = new Set(["GET", "HEAD", "OPTIONS"])
/** A sign of life changes nothing that anybody decided. */
const IS_HEARTBEAT = /\/heartbeat$/

export class AuditLog {
  readonly #file: string | null
  readonly #complain: (text: string) => void
  #records: AuditRecord[]
  #lines = ""

  /** `file` null: in memory only. */
  constructor(file: string | null, complain: (text: string) => void) {
    this.#file = file
    this.#complain = complain
    this.#records = file === null || !existsSync(file) ? [] : readRecords(file)
  }

  /** Newest first. */
  newest(limit: number): readonly AuditRecord[] {
    return this.#records.slice(-limit).reverse()
  }

  add(record: AuditRecord): void {
    this.#records.push(record)
    if (this.#records.length > 2 * KEPT) this.#records = this.#records.slice(-KEPT)
    if (this.#file === null) return
    if (this.#lines === "") setImmediate(() => this.flush())
    this.#lines += `${JSON.stringify(record)}\n`
  }

  /** Writes what waits: one write for all that came in a turn of the event loop. */
  flush(): void {
    const lines = this.#lines
    if (this.#file === null || lines === "") return
    this.#lines = ""
    try {
      if (existsSync(this.#file) && statSync(this.#file).size > FILE_BYTES) renameSync(this.#file, `${this.#file}.1`)
      appendFileSync(this.#file, lines, { mode: 0o600 })
    } catch (error) {
      this.#complain(`the audit log cannot be written: ${messageOf(error)}`)
    }
  }
}

const Query = Type.Object({ limit: Type.Optional(Type.Integer({ minimum: 1, maximum: KEPT, default: 100 })) })

/** A call that may have changed something is over. */
export function record({ gateway, audit }: AdminContext, call: AuditedCall): void {
  const { caller, address, method, path, status } = call
  const { name = "nobody", role = "none" } = caller ?? {}
  const at = new Date()
  audit.add({
    at: at.toISOString(),
    caller: name,
    role,
    address,
    method,
    path,
    status,
    version: gateway.plan?.version ?? 0,
  })
  gateway.tell({ type: "audit", time: at.getTime(), caller: name, method, path, status })
}

export function addAudit(app: FastifyInstance, context: AdminContext): void {
  app.addHook("onClose", async () => context.audit.flush())
  app.addHook("onResponse", async ({ method, url, caller, ip: address }, { statusCode: status }) => {
    const [path = ""] = url.split("?")
    if (READS.has(method) || IS_HEARTBEAT.test(path)) return
    record(context, { caller, address, method, path, status })
  })

  const summary = "calls that may have changed something, newest first"
  const schema = { querystring: Query, response: { 200: items(AUDIT) }, tags: ["audit"], summary }
  app.get<{ Querystring: Static<typeof Query> }>("/v1/audit", { schema }, async ({ query: { limit = 100 } }) => {
    return { items: context.audit.newest(limit) }
  })
}

/** A torn line, the last one of a process that was killed, is passed over. */
function readRecords(file: string): AuditRecord[] {
  const lines = readFileSync(file, "utf8").trimEnd().split("\n").slice(-KEPT)
  return lines.flatMap((line) => {
    try {
      return [JSON.parse(line) as AuditRecord]
    } catch {
      return []
    }
  })
}
