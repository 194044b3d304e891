/** postgres: the row of the highest version of a table; NOTIFY tells of a new one, a look now and then makes sure. */
import { openPostgres, quoted } from "../../remote/index.ts"
import type { ConfigSource } from "./source.ts"

export const postgresSource: ConfigSource = async function* ({ source, signal }) {
  const { url, table, channel, intervalMs } = source
  let lost: Error | null = null
  let wake = (): void => {}
  const client = await openPostgres(url, "configSource.postgres", (error) => {
    lost ??= error
    wake()
  })
  const ended = (): void => wake()
  signal.addEventListener("abort", ended)
  client.on("notification", ended)
  try {
    await client.query(`listen ${quoted(channel)}`)
    let last: unknown
    for (let first = true; !signal.aborted; first = false) {
      const told = new Promise<void>((resolve) => {
        wake = resolve
      })
      const { rows } = await client.query<{ version: unknown; document: string }>(
        `select version, document::text as document from ${quoted(table)} order by version desc limit 1`,
      )
      const [row] = rows
      if (first || row?.version !== last) yield row?.document ?? null
      last = row?.version
      const look = setTimeout(wake, intervalMs)
      if (lost === null && !signal.aborted) await told
      clearTimeout(look)
      if (lost !== null) throw lost
    }
  } finally {
    signal.removeEventListener("abort", ended)
    client.removeAllListeners("notification")
    await client.end().catch(() => undefined)
  }
}
