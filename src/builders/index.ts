/**
 * What configurations in TypeScript are written with, besides matches, targets, policies
 * and handlers. Builders load no schema, so that importing the package stays cheap.
 */
export { consistentHash, ipHash, leastConnections, loadScore, peakEwma, roundRobin, weighted } from "./balance.ts"
export { defineConfig, http, tcp } from "./config.ts"
export { breaker, bulkhead, rateLimit, retry, timeout } from "./resilience.ts"
export { apiKey, basicAuth, bodyLimit, cache, compress, cors } from "./steps.ts"
