/** consistentHash: the same key goes to the same endpoint, and few keys move when endpoints change. */
import Type from "typebox"
import type { Key } from "../model/match.ts"
import { toKeyPlan } from "../policy/index.ts"
import { options, strategy } from "./strategy.ts"

const SIZES = { ring: 1_024, maglev: 65_537 } as const

const simpleKey = Type.Enum(["clientIp", "clientId", "user", "certificate", "topic", "path", "host", "key"])

export const consistentHashStrategy = strategy({
  name: "consistentHash",
  options: options({
    by: Type.Optional(simpleKey),
    header: Type.Optional(Type.String({ minLength: 1 })),
    query: Type.Optional(Type.String({ minLength: 1 })),
    cookie: Type.Optional(Type.String({ minLength: 1 })),
    algorithm: Type.Optional(Type.Enum(["ring", "maglev"], { description: "default maglev" })),
    size: Type.Optional(
      Type.Integer({ minimum: 1_024, maximum: 5_000_011, description: "points of the ring or the table" }),
    ),
    boundedLoad: Type.Optional(
      Type.Union([Type.Number({ minimum: 1, maximum: 10 }), Type.Literal(false)], {
        description: "default 1.25; false: off",
      }),
    ),
  }),
  toPlan: ({ algorithm = "maglev", size, boundedLoad = 1.25, ...key }) => ({
    strategy: "consistentHash",
    key: toKeyPlan(keyOf(key)),
    algorithm,
    size: size ?? SIZES[algorithm],
    boundedLoad: boundedLoad === false ? null : boundedLoad,
  }),
})

interface KeyOptions {
  readonly by?: Key & string
  readonly header?: string
  readonly query?: string
  readonly cookie?: string
}

function keyOf({ by, header, query, cookie }: KeyOptions): Key {
  if (header !== undefined) return { header }
  if (query !== undefined) return { query }
  return cookie === undefined ? (by ?? "key") : { cookie }
}
