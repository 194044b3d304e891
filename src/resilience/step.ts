/** Pieces of schema that the resilience options share. */
import Type from "typebox"

/** Milliseconds from 1 to an hour. */
export const Ms = (description: string) => Type.Integer({ minimum: 1, maximum: 3_600_000, description })

export const Percent = (description: string) => Type.Number({ minimum: 0, maximum: 100, description })

export const KeySchema = Type.Union([
  Type.Enum(["clientIp", "clientId", "user", "certificate", "topic", "path", "host", "route", "key"]),
  Type.Object({ header: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
  Type.Object({ query: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
  Type.Object({ cookie: Type.String({ minLength: 1 }) }, { additionalProperties: false }),
])
