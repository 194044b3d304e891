/** `configSource` with its defaults and secrets. */
import { resolve } from "node:path"
import { type NormalizeContext, readSecret } from "./normalize-auth.ts"
import type { NormalizedConfigSource } from "./normalized.ts"
import { CONFIG_SOURCE_KINDS } from "./schema/config-source.ts"
import type { ConfigData, SecretData } from "./schema/index.ts"

export function normalizeConfigSource(
  given: ConfigData["configSource"],
  context: NormalizeContext,
): NormalizedConfigSource | null {
  if (given === undefined) return null
  const { sqlite, postgres, consul, etcd, kubernetes, nats, intervalMs = 10_000 } = given
  const kind = CONFIG_SOURCE_KINDS.find((known) => given[known] !== undefined) ?? "sqlite"
  const secret = (held: SecretData | undefined, name: string): string | null =>
    held === undefined ? null : readSecret(held, ["configSource", kind, name], context)
  const url = (consul ?? etcd ?? kubernetes)?.url ?? nats?.servers ?? secret(postgres?.url, "url") ?? ""
  return {
    kind,
    url: sqlite === undefined ? url.replace(/\/+$/, "") : resolve(context.folder, sqlite.file),
    key: (consul ?? etcd ?? nats)?.key ?? kubernetes?.key ?? "tidegate.config.yaml",
    table: (sqlite ?? postgres)?.table ?? "tidegate_config",
    channel: postgres?.channel ?? "tidegate_config",
    configMap: kubernetes?.configMap ?? "",
    namespace: kubernetes?.namespace ?? null,
    bucket: nats?.bucket ?? "",
    user: nats?.user ?? null,
    password: secret(nats?.password, "password"),
    token: secret((consul ?? kubernetes ?? nats)?.token, "token"),
    intervalMs,
  }
}
