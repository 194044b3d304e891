/**
 * Servers that keep a configuration. Real are SQLite, etcd, PostgreSQL and NATS; Consul and Kubernetes are
 * small servers of the parts of their HTTP APIs that are used, written from their documentation.
 */
import { mkdtempSync, rmSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Kvm } from "@nats-io/kv"
import { connect } from "@nats-io/transport-node"
import Database from "libsql"
import pg from "pg"
import { etcdPut, etcdServer, natsServer, postgresServer, Web } from "../registry/servers.ts"

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

/** `/v1/kv/<key>` with blocking queries. */
export async function consulWorld(): Promise<World> {
  let [document, index] = ["", 1]
  const waiting = new Set<() => void>()
  const answer = (response: ServerResponse): void => {
    response.writeHead(200, { "x-consul-index": String(index), "content-type": "application/json" })
    response.end(JSON.stringify([{ Key: "edge/config", Value: Buffer.from(document).toString("base64") }]))
  }
  const web = await Web.open((request, response) => {
    const url = new URL(request.url ?? "", "http://consul")
    if (url.pathname !== "/v1/kv/edge/config" || request.headers["x-consul-token"] !== "secret")
      return response.writeHead(403).end()
    if (url.searchParams.get("index") !== String(index)) return answer(response)
    const tell = (): void => answer(response)
    waiting.add(tell)
    response.on("close", () => waiting.delete(tell))
    return undefined
  })
  return {
    source: { consul: { url: web.url, key: "edge/config", token: "secret" } },
    set: (next) => {
      document = next
      index++
      for (const tell of [...waiting]) tell()
      waiting.clear()
    },
    fail: () => web.fail(),
    mend: () => web.mend(),
    close: () => web.fail(),
  }
}

/** One ConfigMap: list and watch. */
export async function kubernetesWorld(): Promise<World> {
  let [document, version] = ["", 1]
  const watchers = new Set<ServerResponse>()
  const map = () => ({
    metadata: { name: "gateway", resourceVersion: String(version) },
    data: { "tidegate.config.yaml": document },
  })
  const tell = (watcher: ServerResponse): void => {
    watcher.write(`${JSON.stringify({ type: "MODIFIED", object: map() })}\n`)
  }
  const web = await Web.open((request, response) => {
    const url = new URL(request.url ?? "", "http://kubernetes")
    const isRight =
      url.pathname === "/api/v1/namespaces/shop/configmaps" &&
      url.searchParams.get("fieldSelector") === "metadata.name=gateway"
    if (!isRight || request.headers.authorization !== "Bearer secret") return response.writeHead(403).end()
    response.writeHead(200, { "content-type": "application/json" })
    if (url.searchParams.get("watch") !== "1")
      return response.end(JSON.stringify({ metadata: { resourceVersion: String(version) }, items: [map()] }))
    response.flushHeaders()
    if (url.searchParams.get("resourceVersion") !== String(version)) tell(response)
    watchers.add(response)
    response.on("close", () => watchers.delete(response))
    return undefined
  })
  return {
    source: { kubernetes: { url: web.url, token: "secret", namespace: "shop", configMap: "gateway" } },
    set: (next) => {
      document = next
      version++
      for (const watcher of watchers) tell(watcher)
    },
    fail: () => web.fail(),
    mend: () => web.mend(),
    close: () => web.fail(),
  }
}
