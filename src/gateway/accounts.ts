/**
 * Users in an SQLite database, besides those of the configuration: read when a plan is made, and
 * looked at every second, so that who is taken out loses its connections. What cannot be read
 * leaves those in force that were read last.
 */
import { existsSync } from "node:fs"
import Database from "libsql"
import type { NormalizedConfig } from "../config/index.ts"
import { messageOf } from "../errors.ts"
import type { AclRulePlan, UserPlan } from "../native/index.ts"

interface Row {
  readonly name: string
  readonly password: string | null
  readonly scram: string | null
  readonly superuser: number | null
  readonly acl: string | null
}

type Source = NonNullable<NormalizedConfig["accounts"]>

const LOOK_MS = 1_000

export class Accounts {
  readonly #complain: (text: string) => void
  readonly #timer: NodeJS.Timeout
  #source: Source | null = null
  #open: Database.Database | null = null
  #stamp = ""
  #rows: readonly Row[] = []
  #said = ""

  constructor(changed: () => void, complain: (text: string) => void) {
    this.#complain = complain
    this.#timer = setInterval(() => {
      const before = this.#stamp
      if (this.#source !== null && this.#look() !== before) changed()
    }, LOOK_MS).unref()
  }

  /** Tells one state of the database from the next. */
  stamp({ accounts }: NormalizedConfig): string {
    if (accounts?.file !== this.#source?.file || accounts?.table !== this.#source?.table) this.#follow(accounts)
    return this.#look()
  }

  /** The configuration with the users of the database; one of its own stands. */
  into(config: NormalizedConfig): NormalizedConfig {
    if (config.accounts === null) return config
    const { users, superusers, acl } = config.access
    const known = new Set(users.map(({ name }) => name))
    const rows = this.#rows.filter(({ name }) => !known.has(name))
    const access = {
      ...config.access,
      users: [...users, ...rows.map(({ name, password, scram }): UserPlan => ({ name, hash: password, scram }))],
      superusers: [...superusers, ...rows.filter(({ superuser }) => superuser === 1).map(({ name }) => name)],
      acl: [...rows.flatMap(rulesOf), ...acl],
    }
    return { ...config, access }
  }

  close(): void {
    clearInterval(this.#timer)
    this.#follow(null)
  }

  #follow(source: Source | null): void {
    this.#open?.close()
    this.#open = null
    this.#source = source
    this.#stamp = ""
    this.#rows = []
  }

  #look(): string {
    if (this.#source === null) return this.#stamp
    const { file, table } = this.#source
    try {
      if (!existsSync(file)) throw new Error("it does not exist")
      this.#open ??= new Database(file, { readonly: true })
      const { data_version } = this.#open.prepare("pragma data_version").get() as { data_version: number }
      const stamp = `${file} ${table} ${data_version}`
      if (stamp === this.#stamp) return stamp
      const query = this.#open.prepare(
        `select name, password, scram, superuser, acl from "${table.replaceAll('"', '""')}" order by name`,
      )
      const rows = query.all() as Row[]
      for (const row of rows) rulesOf(row)
      this.#rows = rows
      this.#stamp = stamp
      this.#said = ""
    } catch (error) {
      this.#open?.close()
      this.#open = null
      const text = `auth.database ${file}: ${messageOf(error)}; the users read last stay`
      if (text !== this.#said) this.#complain(text)
      this.#said = text
    }
    return this.#stamp
  }
}

/** Rules of one user; throws where they are none. */
function rulesOf({ name, acl }: Row): AclRulePlan[] {
  if (acl === null || acl === "") return []
  return (JSON.parse(acl) as { allow?: string; deny?: string; topic?: string }[]).map(({ allow, deny, topic }) => {
    const action = allow ?? deny
    if (typeof topic !== "string" || (allow === undefined) === (deny === undefined)) throw wrong(name)
    if (action !== "publish" && action !== "subscribe" && action !== "all") throw wrong(name)
    return { user: name, clientId: null, action, topic, allow: allow !== undefined }
  })
}

function wrong(name: string): Error {
  return new Error(`the acl of "${name}" is no list of rules`)
}
