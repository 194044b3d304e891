/** consistentHash: the same key goes to the same endpoint, and few keys move when endpoints change. */
import Type, { type Static } from "typebox"
import type { Key } from "../model/match.ts"
import type { CookiePlan } from "../native/index.ts"
import { toKeyPlan } from "../policy/index.ts"
import { options, strategy } from "./strategy.ts"

const SIZES = { ring: 1_024, maglev: 65_537 } as const

const cookieOptions = options({
  ttlS: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 34_560_000, description: "default: as long as the browser" }),
  ),
  path: Type.Optional(Type.String({ pattern: "^/[^;,\\s]*$", default: "/" })),
  domain: Type.Optional(Type.String({ pattern: "^[A-Za-z0-9.-]+$" })),
  httpOnly: Type.Optional(Type.Boolean({ default: true })),
  sameSite: Type.Optional(Type.Enum(["lax", "strict", "none"], { description: "default lax" })),
  secure: Type.Optional(Type.Boolean({ description: "default: where the client came by TLS" })),
})

const simpleKey = Type.Enum(["clientIp", "clientId", "user", "certificate", "topic", "path", "host", "key"])

export const consistentHashStrategy = strategy({
  name: "consistentHash",
  options: options({
    by: Type.Optional(simpleKey),
    header: Type.Optional(Type.String({ minLength: 1 })),
    query: Type.Optional(Type.String({ minLength: 1 })),
    cookie: Type.Optional(Type.String({ pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" })),
    set: Type.Optional(
      Type.Union([Type.Literal(true), cookieOptions], {
        description: "session affinity: the gateway gives the cookie to who has none",
      }),
    ),
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
  toPlan: ({ algorithm = "maglev", size, boundedLoad, set, ...key }) => {
    // Who was given a cookie is to stay, however busy its endpoint is.
    const bound = boundedLoad ?? (set === undefined ? 1.25 : false)
    return {
      strategy: "consistentHash",
      key: toKeyPlan(keyOf(key)),
      algorithm,
      size: size ?? SIZES[algorithm],
      boundedLoad: bound === false ? null : bound,
      set: set === undefined || key.cookie === undefined ? null : toCookiePlan(key.cookie, set === true ? {} : set),
    }
  },
})

function toCookiePlan(name: string, given: Static<typeof cookieOptions>): CookiePlan {
  const { ttlS, path = "/", domain, httpOnly = true, sameSite = "lax", secure = null } = given
  const attributes = [
    ...(ttlS === undefined ? [] : [`Max-Age=${ttlS}`]),
    `Path=${path}`,
    ...(domain === undefined ? [] : [`Domain=${domain}`]),
    ...(httpOnly ? ["HttpOnly"] : []),
    `SameSite=${sameSite.charAt(0).toUpperCase()}${sameSite.slice(1)}`,
  ]
  // Browsers drop SameSite=None that is not Secure.
  return {
    name,
    attributes: attributes.map((text) => `; ${text}`).join(""),
    secure: sameSite === "none" ? true : secure,
  }
}

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
