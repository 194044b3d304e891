/** Small pieces of schema used all over the configuration. */
import Type from "typebox"

/** An object that refuses keys it does not know. */
export function Exact<P extends Parameters<typeof Type.Object>[0]>(properties: P, description?: string) {
  return Type.Object(properties, { additionalProperties: false, ...(description === undefined ? {} : { description }) })
}

/** A secret in place, or where it stands: never printed. */
export const Secret = Type.Union([
  Type.String({ minLength: 1 }),
  Exact({ env: Type.String({ minLength: 1, description: "name of an environment variable" }) }),
  Exact({ file: Type.String({ minLength: 1, description: "path beside the configuration file" }) }),
  Exact({
    encrypted: Type.String({ pattern: "^v1\\.[A-Za-z0-9+/]+=*$", description: "of `tidegate encrypt`" }),
  }),
])

/** Exact text or an anchored regular expression. */
export const Text = Type.Union([Type.String(), Exact({ regex: Type.String({ minLength: 1 }) })])

export const OneOrMany = Type.Union([Type.String(), Type.Array(Type.String(), { minItems: 1 })])

export const Port = Type.Integer({ minimum: 1, maximum: 65_535 })
export const Weight = Type.Integer({ minimum: 0, maximum: 1_000, default: 1 })
export const Texts = Type.Record(Type.String(), Type.String())
