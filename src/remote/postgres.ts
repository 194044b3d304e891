/** One connection to PostgreSQL. Needs the package pg. */
import type { Client } from "pg"
import { optional } from "./optional.ts"

/** Connected; `lost` is told once when the connection ends by itself. Throws when the server does not answer in 5 s. */
export async function openPostgres(url: string, wantedBy: string, lost: (error: Error) => void): Promise<Client> {
  const { default: pg } = await optional("pg", wantedBy, () => import("pg"))
  const client = new pg.Client({
    connectionString: url,
    connectionTimeoutMillis: 5_000,
    keepAlive: true,
    application_name: "tidegate",
  })
  client.on("error", lost)
  client.on("end", () => lost(new Error("the connection to PostgreSQL ended")))
  await client.connect()
  return client
}

/** The name of a table as it may stand in a statement. */
export function quoted(name: string): string {
  return name
    .split(".")
    .map((part) => `"${part.replaceAll('"', '""')}"`)
    .join(".")
}
