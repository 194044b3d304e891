/** What the registry takes, by REST and by gRPC: the same limits for both. */
import Type from "typebox"
import type { ServiceRegistry } from "../registry/index.ts"

const Name = Type.String({ minLength: 1, maxLength: 128, pattern: "^[A-Za-z0-9._:-]+$" })
export const Address = Type.Object({ service: Name, id: Name })
export const Service = Type.Object({ service: Name })

const properties = {
  host: Type.String({ minLength: 1, maxLength: 255, pattern: "^[A-Za-z0-9._:%-]+$" }),
  port: Type.Integer({ minimum: 1, maximum: 65_535 }),
  protocol: Type.Optional(Type.String({ maxLength: 32 })),
  weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000 })),
  zone: Type.Optional(Type.Union([Type.String({ maxLength: 128 }), Type.Null()])),
  version: Type.Optional(Type.Union([Type.String({ maxLength: 128 }), Type.Null()])),
  metadata: Type.Optional(Type.Record(Type.String(), Type.String({ maxLength: 4_096 }), { maxProperties: 64 })),
  ttlSeconds: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 31_536_000 }), Type.Null()])),
}

export const Registration = Type.Object(properties, { additionalProperties: false })
export const Patch = Type.Partial(
  Type.Object(
    { ...properties, status: Type.Enum(["healthy", "unhealthy", "unknown", "draining"]) },
    { additionalProperties: false },
  ),
)
const Percent = Type.Number({ minimum: 0 })
export const Heartbeat = Type.Union([
  Type.Null(),
  Type.Object(
    {
      load: Type.Optional(Type.Partial(Type.Object({ active: Percent, max: Percent, cpu: Percent, memory: Percent }))),
    },
    { additionalProperties: false },
  ),
])

/** All services with the number of their instances. */
export function countServices(registry: ServiceRegistry) {
  return registry.services().map((name) => {
    const instances = registry.instances(name)
    return {
      name,
      source: registry.source(name),
      instances: instances.length,
      healthy: instances.filter(({ status }) => status === "healthy").length,
    }
  })
}
