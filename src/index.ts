/** The public API: declarations, builders and the gateway as a value. Exports only. */
export {
  apiKey,
  basicAuth,
  bodyLimit,
  breaker,
  bulkhead,
  cache,
  compress,
  consistentHash,
  cors,
  defineConfig,
  http,
  ipHash,
  leastConnections,
  loadScore,
  peakEwma,
  rateLimit,
  retry,
  roundRobin,
  tcp,
  timeout,
  weighted,
} from "./builders/index.ts"
export type { ConfigInput } from "./config/index.ts"
export { createGateway } from "./create-gateway.ts"
export { type ErrorCode, type Problem, TidegateError } from "./errors.ts"
export type { Gateway, GatewayOptions, GatewayStats } from "./gateway/index.ts"
export type { GatewayEvent } from "./model/gateway-event.ts"
export type { Field, Key, Match } from "./model/match.ts"
export type * from "./model/message.ts"
export {
  type BalancedEndpoint,
  type BalancerDefinition,
  byCookie,
  byHeader,
  byQuery,
  type CheckedEndpoint,
  defineBalancer,
  defineHandler,
  defineHealthCheck,
  definePolicy,
  defineRegistry,
  type HandlerDefinition,
  type HealthCheckDefinition,
  type PolicyDefinition,
  type PolicyShadow,
  type RegistryDefinition,
  type RegistryInstance,
} from "./policy/index.ts"
export {
  certificate,
  clientId,
  handler,
  header,
  host,
  MatchBuilder,
  method,
  path,
  protocol,
  query,
  redirect,
  respond,
  sni,
  source,
  topic,
  toTopic,
  user,
} from "./route/index.ts"
