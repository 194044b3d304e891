/** `registry`: where registered instances are kept, when several gateways share them. */
import Type from "typebox"
import { NATS } from "./nats.ts"
import { Exact, Secret } from "./values.ts"

/** At most one of them; without any each gateway keeps its own. */
export const REGISTRY_KINDS = ["postgres", "nats"] as const

export const RegistrySchema = Exact(
  {
    postgres: Type.Optional(
      Exact({
        url: Secret,
        table: Type.Optional(
          Type.String({
            pattern: "^[A-Za-z_][A-Za-z0-9_]*(\\.[A-Za-z_][A-Za-z0-9_]*)?$",
            default: "tidegate_instances",
            description: "created where there is none; also the channel of NOTIFY",
          }),
        ),
      }),
    ),
    nats: Type.Optional(
      Exact({
        ...NATS,
        bucket: Type.Optional(
          Type.String({
            pattern: "^[A-Za-z0-9_-]+$",
            default: "tidegate-instances",
            description: "of the key-value store; created where there is none",
          }),
        ),
      }),
    ),
  },
  "where several gateways share the instances that register",
)
