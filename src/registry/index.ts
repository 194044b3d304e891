/** Who runs where: registered services and the addresses behind names. */
export { SourceFollower } from "./follower.ts"
export { type Lookup, type ResolvedEndpoint, resolveEndpoints, systemLookup } from "./resolve.ts"
export {
  type InstanceFilter,
  type InstancePatch,
  type Registration,
  ServiceRegistry,
} from "./services.ts"
export type { ServiceSource } from "./sourced.ts"
