/** Options of the steps that run compiled: who may use a route, and what becomes of bodies. */
import Type, { type Static } from "typebox"
import { Exact, Secret } from "./values.ts"

const Strings = Type.Array(Type.String({ minLength: 1 }), { minItems: 1 })
const TOKEN = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
const HeaderName = Type.String({ pattern: TOKEN })
const UserHeader = Type.Optional(
  Type.String({
    pattern: TOKEN,
    description: "header that tells the service who it is; what a client sends under that name is dropped",
  }),
)

export const CorsSchema = Exact({
  origins: Type.Optional(
    Type.Array(Type.String({ pattern: "^(\\*|null|[a-z][a-z0-9+.-]*://[^/ ]+)$" }), {
      minItems: 1,
      description: "https://app.example, https://*.app.example, or * (default)",
    }),
  ),
  methods: Type.Optional(Strings),
  headers: Type.Optional(Type.Array(HeaderName, { description: "default: those that the preflight asks for" })),
  expose: Type.Optional(Type.Array(HeaderName, { description: "response headers a page may read" })),
  credentials: Type.Optional(Type.Boolean({ description: "cookies and logins; needs origins other than *" })),
  maxAgeS: Type.Optional(Type.Integer({ minimum: 0, maximum: 86_400, description: "default 600" })),
})

export const ApiKeySchema = Exact({
  header: Type.Optional(Type.String({ pattern: TOKEN, description: "default x-api-key" })),
  query: Type.Optional(Type.String({ minLength: 1, description: "query parameter, where the header is not there" })),
  keys: Type.Record(Type.String({ minLength: 1 }), Secret, {
    minProperties: 1,
    description: "client's name to its key",
  }),
  userHeader: UserHeader,
})

export const BasicAuthSchema = Exact({
  realm: Type.Optional(Type.String({ minLength: 1, description: "default tidegate" })),
  users: Type.Optional(
    Type.Record(Type.String({ minLength: 1 }), Secret, {
      description: "name to the hash that `tidegate passwd` prints; default: those of auth",
    }),
  ),
  userHeader: UserHeader,
})

export const CompressSchema = Exact({
  codings: Type.Optional(
    Type.Array(Type.Enum(["br", "zstd", "gzip"]), { minItems: 1, description: "the preferred first; default all" }),
  ),
  minBytes: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_073_741_824, description: "default 1024" })),
  types: Type.Optional(
    Type.Array(Type.String({ pattern: "^[a-z0-9*]" }), {
      description: "content types, text/* for all of text; default text, JSON, XML, JavaScript, SVG, Wasm",
    }),
  ),
})

const Duration = (description: string) =>
  Type.Optional(Type.Integer({ minimum: 0, maximum: 31_536_000_000, description }))

export const CacheSchema = Exact({
  ttlMs: Duration("for answers that do not say how long they are good; default: those are not kept"),
  staleWhileRevalidateMs: Duration(
    "beyond its time an answer is still given while it is fetched anew, where it does not say; default 0",
  ),
  staleIfErrorMs: Duration(
    "beyond its time an answer is still given where the upstream fails, where it does not say; default 0",
  ),
})

export const BodyLimitSchema = Exact({
  bytes: Type.Integer({ minimum: 0, description: "longest body of a request; beyond: 413" }),
})

export type CorsOptions = Static<typeof CorsSchema>
export type ApiKeyOptions = Static<typeof ApiKeySchema>
export type BasicAuthOptions = Static<typeof BasicAuthSchema>
export type CompressOptions = Static<typeof CompressSchema>
export type CacheOptions = Static<typeof CacheSchema>
export type BodyLimitOptions = Static<typeof BodyLimitSchema>
