/** sqlite: the row of the highest version of a table, looked at again and again. */
import { existsSync } from "node:fs"
import Database from "libsql"
import { pause, quoted } from "../../remote/index.ts"
import type { ConfigSource } from "./source.ts"

export const sqliteSource: ConfigSource = async function* ({ source: { url: file, table, intervalMs }, signal }) {
  if (!existsSync(file)) throw new Error(`${file} does not exist`)
  const database = new Database(file, { readonly: true })
  try {
    const query = database.prepare(`select version, document from ${quoted(table)} order by version desc limit 1`)
    let last: unknown
    for (let first = true; !signal.aborted; first = false) {
      const row = query.get() as { version: unknown; document: string } | undefined
      if (first || row?.version !== last) yield row?.document ?? null
      last = row?.version
      await pause(intervalMs, signal)
    }
  } finally {
    database.close()
  }
}
