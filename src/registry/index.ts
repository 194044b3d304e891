/** Who runs where: registered services and the addresses behind names. */
export { type Lookup, type ResolvedEndpoint, resolveEndpoints, systemLookup } from "./resolve.ts"
export { type InstanceFilter, type InstancePatch, type Registration, ServiceRegistry } from "./services.ts"
