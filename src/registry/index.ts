/** Who runs where: registered services and the addresses behind names. */
export { DirectoryFollower } from "./directory.ts"
export { SourceFollower } from "./follower.ts"
export type { InstanceFilter, InstancePatch, Registration } from "./registration.ts"
export { type Lookup, type ResolvedEndpoint, resolveEndpoints, systemLookup } from "./resolve.ts"
export { ServiceRegistry } from "./services.ts"
export { SharedRegistry } from "./shared.ts"
export type { ServiceSource } from "./sourced.ts"
export { inSubset } from "./subset.ts"
