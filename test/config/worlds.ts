/**
 * Servers that keep a configuration. Real are SQLite, etcd, PostgreSQL and NATS; Consul and
 * Kubernetes are those of `small-servers.ts`.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Kvm } from "@nats-io/kv"
import { connect } from "@nats-io/transport-node"
import Database from "libsql"
import pg from "pg"
import { etcdPut, etcdServer, natsServer, postgresServer } from "../registry/servers.ts"
import { consul, kubernetes } from "../registry/small-servers.ts"

/** A server of one document that can be told what it has, and that it is away. */
export interface World {
  /** `configSource` of the configuration. */
  readonly source: object
  set(document: string): Promise<void> | void
  fail(): Promise<void> | void
  mend(): Promise<void> | void
  close(): Promise<void> | void
}

export async function sqliteWorld(): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), "tidegate-config-"))
  const file = join(folder, "config.db")
  const write = (run: (database: Database.Database) => void): void => {
    const database = new Database(file)
    run(database)
    database.close()
  }
  write((database) => database.exec("create table tidegate_config (version integer primary key, document text)"))
  return {
    source: { sqlite: { file } },
    set: (document) =>
      write((database) => database.prepare("insert into tidegate_config (document) values (?)").run(document)),
    // A reader that has it open would go on reading: the table goes instead.
    fail: () => write((database) => database.exec("alter table tidegate_config rename to away")),
    mend: () => write((database) => database.exec("alter table away rename to tidegate_config")),
    close: () => rmSync(folder, { recursive: true }),
  }
}

export async function postgresWorld(): Promise<World> {
  const server = await postgresServer()
  const query = async (text: string, values: readonly unknown[] = []): Promise<void> => {
    const client = new pg.Client({ connectionString: server.url })
    await client.connect()
    await client.query(text, [...values])
    await client.end()
  }
  await query("create table tidegate_config (version serial primary key, document text not null)")
  return {
    ...server,
    // Only NOTIFY can tell of a change in time.
    source: { postgres: { url: server.url }, intervalMs: 60_000 },
    set: async (document) => {
      await query("insert into tidegate_config (document) values ($1)", [document])
      await query("notify tidegate_config")
    },
  }
}

export async function etcdWorld(): Promise<World> {
  const server = await etcdServer()
  const key = "/tidegate/config"
  return {
    ...server,
    source: { etcd: { url: server.url, key } },
    set: (document) => etcdPut(server.url, key, document),
  }
}

export async function natsWorld(): Promise<World> {
  const server = await natsServer()
  return {
    ...server,
    source: { nats: { servers: `127.0.0.1:${server.port}`, bucket: "tidegate", key: "config" } },
    set: async (document) => {
      const connection = await connect({ servers: `127.0.0.1:${server.port}` })
      await (await new Kvm(connection).create("tidegate")).put("config", document)
      await connection.close()
    },
  }
}

/** `/v1/kv/<key>`. */
export async function consulWorld(): Promise<World> {
  let document = ""
  const server = await consul(
    ({ pathname }) => pathname === "/v1/kv/edge/config",
    () => [{ Key: "edge/config", Value: Buffer.from(document).toString("base64") }],
  )
  return {
    ...server,
    source: { consul: { url: server.url, key: "edge/config", token: "secret" } },
    set: (next) => {
      document = next
      server.changed()
    },
  }
}

/** One ConfigMap. */
export async function kubernetesWorld(): Promise<World> {
  let document = ""
  const server = await kubernetes(
    ({ pathname, searchParams }) =>
      pathname === "/api/v1/namespaces/shop/configmaps" &&
      searchParams.get("fieldSelector") === "metadata.name=gateway",
    () => ({ data: { "tidegate.config.yaml": document } }),
  )
  return {
    ...server,
    source: { kubernetes: { url: server.url, token: "secret", namespace: "shop", configMap: "gateway" } },
    set: (next) => {
      document = next
      server.changed()
    },
  }
}
