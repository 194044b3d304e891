/** What several gateways have in common besides their registry: rate limits. */
export { type ExchangeCounts, LimitExchange } from "./exchange.ts"
