/**
 * Registered instances on embedded SQLite: they survive a restart, their heartbeats
 * included. The clock is an argument; expiry is the caller's sweep.
 */
import Database from "libsql"
import { messageOf, TidegateError } from "../errors.ts"
import type { Instance, InstanceStatus, Load } from "../model/service.ts"

interface Row {
  readonly service: string
  readonly id: string
  readonly document: string
  readonly heartbeat: number
}

/** What is kept of an instance besides its keys and times. */
type Document = Omit<Instance, "service" | "id" | "lastHeartbeatAt" | "status"> & { readonly status: InstanceStatus }

export class InstanceStore {
  readonly #database: Database.Database
  /** Made when used: libsql lets go of the file when the last statement is collected, not before. */
  #put: Database.Statement | null = null

  /** `file` may be `:memory:`. Throws STORE where it cannot be used. */
  constructor(file: string) {
    try {
      this.#database = new Database(file)
      // A change is in the file before its answer, and survives this process; a power cut may take the last ones.
      this.#database.exec("pragma journal_mode = wal; pragma synchronous = normal")
      this.#database.exec(
        "create table if not exists instances (service text, id text, document text, heartbeat integer, primary key (service, id))",
      )
    } catch (error) {
      throw new TidegateError("STORE", `the registered instances cannot be read from ${file}: ${messageOf(error)}`, {
        cause: error,
        hint: "move the file away; without it instances have to register again",
      })
    }
  }

  all(): Instance[] {
    return (this.#database.prepare("select * from instances order by service, id").all() as Row[]).map(toInstance)
  }

  put(instance: Instance): void {
    const { service, id, lastHeartbeatAt, ...document } = instance
    this.#put ??= this.#database.prepare("insert or replace into instances values (?, ?, ?, ?)")
    this.#put.run(service, id, JSON.stringify(document), Date.parse(lastHeartbeatAt))
  }

  remove(service: string, id: string): void {
    this.#database.prepare("delete from instances where service = ? and id = ?").run(service, id)
  }

  close(): void {
    this.#put = null
    this.#database.close()
  }
}

function toInstance({ service, id, document, heartbeat }: Row): Instance {
  return { ...(JSON.parse(document) as Document), service, id, lastHeartbeatAt: new Date(heartbeat).toISOString() }
}

/** A load report with its bounds: counts from 0, percent 0 to 100. */
export function toLoad(given: Partial<Load>): Load {
  const clamp = (value: number | undefined, most: number): number => Math.min(most, Math.max(0, value ?? 0))
  return {
    active: clamp(given.active, Number.MAX_SAFE_INTEGER),
    max: clamp(given.max, Number.MAX_SAFE_INTEGER),
    cpu: clamp(given.cpu, 100),
    memory: clamp(given.memory, 100),
  }
}
