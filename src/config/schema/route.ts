/** `routes`: conditions, targets and the steps between them. */
import Type from "typebox"
import { BreakerSchema, BulkheadSchema, RateLimitSchema, RetrySchema, TimeoutSchema } from "../../resilience/index.ts"
import { ApiKeySchema, BasicAuthSchema, BodyLimitSchema, CacheSchema, CompressSchema, CorsSchema } from "./steps.ts"
import { Exact, OneOrMany, Text, Texts } from "./values.ts"

const TextOrPresent = Type.Union([Type.String(), Type.Literal(true), Exact({ regex: Type.String({ minLength: 1 }) })])

export const MatchSchema = Exact({
  path: Type.Optional(Text),
  host: Type.Optional(Type.String({ minLength: 1 })),
  method: Type.Optional(OneOrMany),
  header: Type.Optional(Type.Record(Type.String(), TextOrPresent)),
  query: Type.Optional(Type.Record(Type.String(), TextOrPresent)),
  topic: Type.Optional(Type.String({ minLength: 1 })),
  clientId: Type.Optional(Text),
  user: Type.Optional(Text),
  protocol: Type.Optional(OneOrMany),
  source: Type.Optional(OneOrMany),
  sni: Type.Optional(Type.String({ minLength: 1 })),
  certificate: Type.Optional(
    Type.Union([
      Type.Boolean({ description: "whether a valid one was shown" }),
      Exact({
        subject: Type.Optional(Text),
        name: Type.Optional(Text),
        fingerprint: Type.Optional(Type.String({ minLength: 1 })),
      }),
    ]),
  ),
})

export const RespondSchema = Exact({
  status: Type.Optional(Type.Integer({ minimum: 200, maximum: 599, default: 200 })),
  body: Type.Optional(Type.String()),
  headers: Type.Optional(Texts),
})

export const SplitSchema = Exact({
  upstream: Type.String({ minLength: 1 }),
  weight: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000, default: 1 })),
})

/** Exactly one of these; `config/check.ts` says so. */
export const TargetSchema = Type.Union([
  Type.String({ minLength: 1, description: "an upstream" }),
  Type.Array(SplitSchema, { minItems: 1, description: "a weighted split" }),
  Exact({
    upstream: Type.Optional(Type.String({ minLength: 1 })),
    respond: Type.Optional(RespondSchema),
    redirect: Type.Optional(
      Exact({
        location: Type.String({ minLength: 1 }),
        status: Type.Optional(Type.Enum([301, 302, 303, 307, 308], { description: "default 302" })),
      }),
    ),
    topic: Type.Optional(Type.String({ minLength: 1, description: "{topic} stands for the original one" })),
    handler: Type.Optional(Type.String({ minLength: 1 })),
    directory: Type.Optional(
      Type.String({ minLength: 1, description: "files below it; relative to the configuration" }),
    ),
  }),
])

const Names = Type.Union([Type.String({ minLength: 1 }), Type.Array(Type.String({ minLength: 1 }))])

/** The built-in steps by name; other keys are policies. */
export const STEP_SCHEMAS = {
  retry: RetrySchema,
  timeout: TimeoutSchema,
  bulkhead: BulkheadSchema,
  breaker: BreakerSchema,
  rateLimit: RateLimitSchema,
  setHeader: Texts,
  addHeader: Texts,
  removeHeader: Names,
  setResponseHeader: Texts,
  addResponseHeader: Texts,
  removeResponseHeader: Names,
  cors: CorsSchema,
  apiKey: ApiKeySchema,
  basicAuth: BasicAuthSchema,
  compress: CompressSchema,
  cache: CacheSchema,
  bodyLimit: BodyLimitSchema,
  rewrite: Exact({
    path: Type.Optional(Type.String({ pattern: "^/" })),
    host: Type.Optional(Type.String({ minLength: 1 })),
    topic: Type.Optional(Type.String({ minLength: 1 })),
  }),
  respond: RespondSchema,
}

const stepProperties = {
  retry: Type.Optional(STEP_SCHEMAS.retry),
  timeout: Type.Optional(STEP_SCHEMAS.timeout),
  bulkhead: Type.Optional(STEP_SCHEMAS.bulkhead),
  breaker: Type.Optional(STEP_SCHEMAS.breaker),
  rateLimit: Type.Optional(STEP_SCHEMAS.rateLimit),
  setHeader: Type.Optional(STEP_SCHEMAS.setHeader),
  addHeader: Type.Optional(STEP_SCHEMAS.addHeader),
  removeHeader: Type.Optional(STEP_SCHEMAS.removeHeader),
  setResponseHeader: Type.Optional(STEP_SCHEMAS.setResponseHeader),
  addResponseHeader: Type.Optional(STEP_SCHEMAS.addResponseHeader),
  removeResponseHeader: Type.Optional(STEP_SCHEMAS.removeResponseHeader),
  cors: Type.Optional(STEP_SCHEMAS.cors),
  apiKey: Type.Optional(STEP_SCHEMAS.apiKey),
  basicAuth: Type.Optional(STEP_SCHEMAS.basicAuth),
  compress: Type.Optional(STEP_SCHEMAS.compress),
  cache: Type.Optional(STEP_SCHEMAS.cache),
  bodyLimit: Type.Optional(STEP_SCHEMAS.bodyLimit),
  rewrite: Type.Optional(STEP_SCHEMAS.rewrite),
  respond: Type.Optional(STEP_SCHEMAS.respond),
}

export const StepSchema = Type.Union([
  Type.String({ minLength: 1, description: "a policy without options" }),
  Type.Object(stepProperties, { minProperties: 1, description: "steps and policies by name, with their options" }),
])

export const RouteSchema = Exact({
  name: Type.Optional(Type.String({ minLength: 1, description: "default: a hash of the condition" })),
  when: MatchSchema,
  to: TargetSchema,
  priority: Type.Optional(
    Type.Integer({ minimum: -1_000_000, maximum: 1_000_000, default: 0, description: "higher first" }),
  ),
  mirror: Type.Optional(Type.String({ minLength: 1, description: "an upstream that gets a copy" })),
  use: Type.Optional(Type.Array(StepSchema)),
  timeoutMs: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_600_000, default: 15_000 })),
})
