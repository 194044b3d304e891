/** The public API: declarations, builders and the gateway as a value. Exports only. */
export { consistentHash, ipHash, leastConnections, loadScore, peakEwma, roundRobin, weighted } from "./balance/index.ts"
export { type ConfigInput, defineConfig, http, tcp } from "./config/index.ts"
export { type ErrorCode, type Problem, TidegateError } from "./errors.ts"
export { createGateway, Gateway, type GatewayOptions, type GatewayStats } from "./gateway/index.ts"
export type { GatewayEvent } from "./model/gateway-event.ts"
export type { Field, Key, Match } from "./model/match.ts"
export type * from "./model/message.ts"
export {
  byCookie,
  byHeader,
  byQuery,
  defineHandler,
  definePolicy,
  type HandlerDefinition,
  type PolicyDefinition,
} from "./policy/index.ts"
export { breaker, rateLimit, retry, timeout } from "./resilience/index.ts"
export {
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
} from "./route/index.ts"
