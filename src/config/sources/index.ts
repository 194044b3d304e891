/** Sources of configurations: a new one is one file, one line here, and its key in the schema. */
import type { NormalizedConfigSource } from "../normalized.ts"
import { consulSource } from "./consul.ts"
import { etcdSource } from "./etcd.ts"
import { kubernetesSource } from "./kubernetes.ts"
import { natsSource } from "./nats.ts"
import { postgresSource } from "./postgres.ts"
import type { ConfigSource } from "./source.ts"
import { sqliteSource } from "./sqlite.ts"

export const CONFIG_SOURCES: Readonly<Record<NormalizedConfigSource["kind"], ConfigSource>> = {
  sqlite: sqliteSource,
  postgres: postgresSource,
  consul: consulSource,
  etcd: etcdSource,
  kubernetes: kubernetesSource,
  nats: natsSource,
}
