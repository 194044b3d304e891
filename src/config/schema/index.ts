/** The schema of a whole configuration; also published as JSON Schema for editors. */
import Type, { type Static } from "typebox"
import { AlertSchema } from "./alert.ts"
import { AuthSchema } from "./auth.ts"
import { BridgesSchema } from "./bridge.ts"
import { ConfigSourceSchema } from "./config-source.ts"
import { HooksSchema } from "./hooks.ts"
import { AdminSchema, ListenerSchema } from "./listener.ts"
import { BROKER, COAP, DRAIN, LIMITS, MQTT, numbers } from "./numbers.ts"
import { OptimizerSchema } from "./optimizer.ts"
import { RateLimitsSchema } from "./rate-limits.ts"
import { RegistrySchema } from "./registry.ts"
import { RouteSchema } from "./route.ts"
import { SourceSchema } from "./source.ts"
import { ServerTlsSchema } from "./tls.ts"
import { TracingSchema } from "./tracing.ts"
import { InstanceSchema, UpstreamSchema } from "./upstream.ts"
import { Exact, type Secret } from "./values.ts"

const Format = Type.Enum(["json", "common", "combined"])

const AccessLogSchema = Type.Union(
  [
    Type.Literal(false),
    Format,
    Exact({
      format: Type.Optional(Format),
      file: Type.Optional(
        Type.String({ minLength: 1, description: "default standard output; opened again when it was moved away" }),
      ),
      sampleEvery: Type.Optional(
        Type.Integer({ minimum: 1, maximum: 1_000_000_000, description: "one request in so many; default 1" }),
      ),
    }),
  ],
  { description: "a line for each HTTP request; default false" },
)

const NamesOrModules = Type.Union([Type.String(), Type.Array(Type.String())], {
  description: "names, or paths of modules",
})

export const ConfigSchema = Exact({
  $schema: Type.Optional(Type.String()),
  workers: Type.Optional(Type.Integer({ minimum: 1, maximum: 64, description: "default: one per core" })),
  policyThreads: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 64,
      description: "threads that policies and handlers run in under `tidegate run`, at most one per worker; default 1",
    }),
  ),
  listeners: Type.Optional(Type.Array(ListenerSchema)),
  admin: Type.Optional(AdminSchema),
  upstreams: Type.Optional(Type.Record(Type.String(), UpstreamSchema)),
  services: Type.Optional(Type.Record(Type.String(), Type.Union([Type.Array(InstanceSchema), SourceSchema]))),
  registry: Type.Optional(RegistrySchema),
  rateLimits: Type.Optional(RateLimitsSchema),
  routes: Type.Optional(Type.Array(RouteSchema)),
  policies: Type.Optional(NamesOrModules),
  handlers: Type.Optional(NamesOrModules),
  bridges: Type.Optional(BridgesSchema),
  broker: Type.Optional(
    Exact({
      httpPath: Type.Optional(
        Type.String({ pattern: "^/[^?#]*$", default: "/t", description: "where topics stand in paths" }),
      ),
      durability: Type.Optional(
        Type.Enum(["process", "power"], {
          default: "process",
          description: "what an acknowledgement survives: the end of the process, or of power",
        }),
      ),
      sharedSubscriptions: Type.Optional(
        Type.Enum(["fair", "sticky"], {
          default: "fair",
          description: "which member gets a message: in turns, or the same one until it goes",
        }),
      ),
      hooks: Type.Optional(HooksSchema),
      ...numbers(BROKER),
    }),
  ),
  mqtt: Type.Optional(
    Exact({
      redirect: Type.Optional(
        Exact({
          to: Type.String({ minLength: 1, maxLength: 1_024, description: "the server to use instead, host:port" }),
          when: Type.Optional(Type.Enum(["drain", "always"], { default: "drain" })),
          permanent: Type.Optional(Type.Boolean({ default: false, description: "0x9D instead of 0x9C" })),
        }),
      ),
      responseInformation: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 1_024,
          description: "what a client that asks may begin its response topics with; %c is its client id",
        }),
      ),
      ...numbers(MQTT),
    }),
  ),
  coap: Type.Optional(
    Exact({
      forwardProxy: Type.Optional(
        Type.Boolean({
          default: false,
          description: "requests with Proxy-Uri or Proxy-Scheme go where a route names their host; otherwise 5.05",
        }),
      ),
      ownHosts: Type.Optional(
        Type.Array(Type.String({ pattern: "^([^\\s:/\\[\\]]+|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?$" }), {
          description: "what else names the gateway in such requests, with a port or for any, beside its address",
        }),
      ),
      ...numbers(COAP),
    }),
  ),
  tls: Type.Optional(ServerTlsSchema),
  auth: Type.Optional(AuthSchema),
  limits: Type.Optional(Exact(numbers(LIMITS))),
  drain: Type.Optional(Exact(numbers(DRAIN))),
  log: Type.Optional(
    Exact({
      level: Type.Optional(Type.Enum(["trace", "debug", "info", "warn", "error", "silent"], { default: "info" })),
      access: Type.Optional(AccessLogSchema),
      sampleEvery: Type.Optional(
        Type.Integer({
          minimum: 0,
          maximum: 1_000_000_000,
          default: 0,
          description: "one access record in so many; 0: none",
        }),
      ),
    }),
  ),
  forward: Type.Optional(
    Exact({
      via: Type.Optional(Type.Boolean({ description: "Via (RFC 9110); default true" })),
      forwarded: Type.Optional(Type.Boolean({ description: "Forwarded (RFC 7239); default only where one came" })),
      requestId: Type.Optional(Type.Boolean({ description: "X-Request-Id where there is none; default true" })),
      traceparent: Type.Optional(Type.Boolean({ description: "begin a trace where there is none; default false" })),
      clientCertificate: Type.Optional(
        Type.Enum(["none", "xfcc", "rfc9440"], {
          description: "X-Forwarded-Client-Cert, or Client-Cert (RFC 9440); default none",
        }),
      ),
    }),
  ),
  tracing: Type.Optional(TracingSchema),
  configSource: Type.Optional(ConfigSourceSchema),
  alerts: Type.Optional(Type.Array(AlertSchema, { maxItems: 1_000 })),
  optimizer: Type.Optional(OptimizerSchema),
  dataDir: Type.Optional(
    Type.Union([Type.Literal(false), Type.String({ minLength: 1 })], {
      description: "default .tidegate beside the configuration; false: nothing on disk",
    }),
  ),
})

/** A configuration as data, before defaults. */
export type ConfigData = Static<typeof ConfigSchema>
export type RouteData = Static<typeof RouteSchema>
export type UpstreamData = Static<typeof UpstreamSchema>
export type SourceData = Static<typeof SourceSchema>
export type ListenerData = Static<typeof ListenerSchema>
export type SecretData = Static<typeof Secret>
