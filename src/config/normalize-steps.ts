/** Steps with their defaults; their secrets are resolved here and hashed, so that no plan holds one. */
import { createHash } from "node:crypto"
import type { HeaderPlan } from "../native/index.ts"
import {
  type BulkheadOptions,
  type RateLimitOptions,
  type RetryOptions,
  type TimeoutOptions,
  toRateLimitStep,
  toRetryPlan,
} from "../resilience/index.ts"
import type { NormalizedStep } from "./normalized.ts"
import type { RouteData, SecretData } from "./schema/index.ts"
import type {
  ApiKeyOptions,
  BasicAuthOptions,
  BodyLimitOptions,
  CacheOptions,
  CompressOptions,
  CorsOptions,
} from "./schema/steps.ts"

type Use = NonNullable<RouteData["use"]>[number]
export type Respond = { status?: number; body?: string; headers?: Record<string, string> }
type Rewrite = { path?: string | null; host?: string | null; topic?: string | null }
type Build = (options: never, context: StepContext) => NormalizedStep | null

/** What steps need to know of the rest of the configuration. */
export interface StepContext {
  /** The route's name: rate limits without one of their own have it. */
  readonly owner: string
  /** The route's own time. */
  readonly timeoutMs: number
  /** The users of `auth`: name and hash. */
  readonly users: readonly (readonly [name: string, hash: string])[]
  /** The value of a secret; what is wrong with it is reported. */
  readonly secret: (given: SecretData, name: string) => string
}

const TYPES = [
  "text/*",
  "application/json",
  "application/javascript",
  "application/xml",
  "application/xhtml+xml",
  "application/wasm",
  "application/manifest+json",
  "application/problem+json",
  "application/ld+json",
  "application/graphql-response+json",
  "image/svg+xml",
] as const

/** Built-in steps; a breaker is none, it belongs to the upstream. */
const BUILD: Readonly<Record<string, Build>> = {
  retry: (options: RetryOptions) => ({ kind: "retry", retry: toRetryPlan(options) }),
  timeout: ({ ms, perTryMs, idleMs, totalMs }: TimeoutOptions, { timeoutMs }) => ({
    kind: "timeout",
    ms: ms ?? timeoutMs,
    perTryMs: perTryMs ?? null,
    idleMs: idleMs ?? null,
    totalMs: totalMs ?? null,
  }),
  bulkhead: ({ max }: BulkheadOptions) => ({ kind: "bulkhead", max }),
  breaker: () => null,
  rateLimit: (options: RateLimitOptions, { owner }) => toRateLimitStep(options, owner) as NormalizedStep,
  setHeader: (headers: Record<string, string>) => ({ kind: "setHeader", headers: toHeaders(headers) }),
  addHeader: (headers: Record<string, string>) => ({ kind: "addHeader", headers: toHeaders(headers) }),
  removeHeader: (names: string | string[]) => ({ kind: "removeHeader", names: [names].flat() }),
  setResponseHeader: (headers: Record<string, string>) => ({ kind: "setResponseHeader", headers: toHeaders(headers) }),
  addResponseHeader: (headers: Record<string, string>) => ({ kind: "addResponseHeader", headers: toHeaders(headers) }),
  removeResponseHeader: (names: string | string[]) => ({ kind: "removeResponseHeader", names: [names].flat() }),
  rewrite: ({ path = null, host = null, topic = null }: Rewrite) => ({ kind: "rewrite", path, host, topic }),
  respond: (options: Respond) => ({ kind: "respond", ...toRespond(options) }),
  cors: ({ origins, methods, headers, expose, credentials = false, maxAgeS = 600 }: CorsOptions) => ({
    kind: "cors",
    origins: origins ?? ["*"],
    methods: methods ?? ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    headers: headers ?? [],
    expose: expose ?? [],
    credentials,
    maxAgeS,
  }),
  apiKey: ({ header, query, keys, userHeader }: ApiKeyOptions, { secret }) => ({
    kind: "apiKey",
    header: header ?? (query === undefined ? "x-api-key" : null),
    query: query ?? null,
    keys: Object.entries(keys).map(([name, key]) => [name, sha256(secret(key, name))] as const),
    userHeader: userHeader ?? null,
  }),
  basicAuth: ({ realm = "tidegate", users, userHeader }: BasicAuthOptions, context) => ({
    kind: "basicAuth",
    realm,
    users:
      users === undefined
        ? context.users
        : Object.entries(users).map(([name, hash]) => [name, context.secret(hash, name)] as const),
    userHeader: userHeader ?? null,
  }),
  compress: ({ codings, minBytes = 1_024, types }: CompressOptions) => ({
    kind: "compress",
    codings: codings ?? ["br", "zstd", "gzip"],
    minBytes,
    types: types ?? TYPES,
  }),
  cache: ({ ttlMs, staleWhileRevalidateMs = 0, staleIfErrorMs = 0 }: CacheOptions) => ({
    kind: "cache",
    ttlMs: ttlMs ?? null,
    staleWhileRevalidateMs,
    staleIfErrorMs,
  }),
  bodyLimit: ({ bytes }: BodyLimitOptions) => ({ kind: "bodyLimit", bytes }),
}

export function toSteps(use: Use, context: StepContext): NormalizedStep[] {
  if (typeof use === "string") return [{ kind: "policy", name: use, options: {} }]
  return Object.entries(use).flatMap(([name, options]) => {
    const build = BUILD[name]
    if (build === undefined)
      return [{ kind: "policy" as const, name, options: (options ?? {}) as Record<string, unknown> }]
    return build(options as never, context) ?? []
  })
}

export function toRespond({ status = 200, body = "", headers = {} }: Respond) {
  return { status, body, headers: toHeaders(headers) }
}

function toHeaders(headers: Readonly<Record<string, string>>): HeaderPlan[] {
  return Object.entries(headers)
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex")
}
