/** `configSource`: where the configuration is kept when it is not the file itself. */
import Type from "typebox"
import { NATS } from "./nats.ts"
import { Exact, Secret } from "./values.ts"

const Url = Type.String({ pattern: "^https?://", description: "http:// or https://" })
const Table = Type.String({
  pattern: "^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)?$",
  default: "tidegate_config",
  description: "columns: version, document; the row of the highest version counts",
})
const Key = Type.String({ minLength: 1, description: "holds the document" })

/** Exactly one of them says where. */
export const CONFIG_SOURCE_KINDS = ["sqlite", "postgres", "consul", "etcd", "kubernetes", "nats"] as const

export const ConfigSourceSchema = Exact(
  {
    sqlite: Type.Optional(
      Exact({
        file: Type.String({ minLength: 1, description: "path beside the configuration file" }),
        table: Type.Optional(Table),
      }),
    ),
    postgres: Type.Optional(
      Exact({
        url: Secret,
        table: Type.Optional(Table),
        channel: Type.Optional(
          Type.String({
            pattern: "^[a-z_][a-z0-9_]*$",
            default: "tidegate_config",
            description: "NOTIFY on it tells of a new version at once",
          }),
        ),
      }),
    ),
    consul: Type.Optional(Exact({ url: Url, key: Key, token: Type.Optional(Secret) })),
    etcd: Type.Optional(Exact({ url: Url, key: Key })),
    kubernetes: Type.Optional(
      Exact({
        configMap: Type.String({ minLength: 1 }),
        key: Type.Optional(Type.String({ minLength: 1, default: "tidegate.config.yaml" })),
        namespace: Type.Optional(Type.String({ minLength: 1, description: "default the pod's, else default" })),
        url: Type.Optional(Url),
        token: Type.Optional(Secret),
      }),
    ),
    nats: Type.Optional(
      Exact({
        ...NATS,
        bucket: Type.String({ minLength: 1, description: "of the key-value store; created where there is none" }),
        key: Key,
      }),
    ),
    intervalMs: Type.Optional(
      Type.Integer({
        minimum: 100,
        maximum: 3_600_000,
        default: 10_000,
        description: "between two looks where nothing tells of changes, and at most between two tries",
      }),
    ),
  },
  "everything but admin, dataDir, configSource, functions and commands comes from there",
)
