/** postgres: one row an instance; NOTIFY carries the keys of what changed. */
import { openPostgres, quoted } from "../../remote/index.ts"
import type { OpenPeer, PeerEntry } from "./peer.ts"

/** Keys in one notification: its payload may have 8,000 bytes, a key 257. */
const KEYS_PER_NOTE = 25

interface Row {
  readonly key: string
  readonly at: string
  readonly document: string | null
}

export const openPostgresPeer: OpenPeer = async ({ url, table: name }, signal) => {
  const table = quoted(name)
  const changed = new Set<string>()
  let lost: Error | null = null
  let wake = (): void => {}
  const client = await openPostgres(url, "registry.postgres", (error) => {
    lost ??= error
    wake()
  })
  client.on("notification", ({ payload = "[]" }) => {
    for (const key of JSON.parse(payload) as string[]) changed.add(key)
    wake()
  })
  signal.addEventListener("abort", () => wake(), { once: true })
  await client.query(`create table if not exists ${table} (key text primary key, at bigint not null, document text)`)
  await client.query(`listen ${quoted(name.replace(".", "_"))}`)
  const read = async (rest = "", values: readonly unknown[] = []): Promise<PeerEntry[]> => {
    const { rows } = await client.query<Row>(`select key, at, document from ${table} ${rest}`, [...values])
    return rows.map((row) => ({ ...row, at: Number(row.at) }))
  }
  return {
    all: () => read(),
    async write(entries) {
      const columns = [
        entries.map(({ key }) => key),
        entries.map(({ at }) => at),
        entries.map(({ document }) => document),
      ]
      await client.query(
        `insert into ${table} select * from unnest($1::text[], $2::bigint[], $3::text[])
         on conflict (key) do update set at = excluded.at, document = excluded.document where ${table}.at < excluded.at`,
        columns,
      )
      for (let first = 0; first < entries.length; first += KEYS_PER_NOTE) {
        const keys = entries.slice(first, first + KEYS_PER_NOTE).map(({ key }) => key)
        await client.query("select pg_notify($1, $2)", [name.replace(".", "_"), JSON.stringify(keys)])
      }
    },
    async *changes() {
      while (!signal.aborted) {
        const told = new Promise<void>((resolve) => {
          wake = resolve
        })
        const keys = [...changed]
        changed.clear()
        if (keys.length > 0) yield await read("where key = any($1)", [keys])
        if (changed.size === 0 && lost === null && !signal.aborted) await told
        if (lost !== null) throw lost
      }
    },
    forget: async (before) => {
      await client.query(`delete from ${table} where document is null and at < $1`, [before])
    },
    close: () => client.end().catch(() => undefined),
  }
}
