/** The gateway as a value. */
export { createGateway, createLoadedGateway } from "./create-gateway.ts"
export { Gateway, type GatewayOptions, type GatewayState, type GatewayStats } from "./gateway.ts"
export { type CreatePolicyHost, inlinePolicyHost, type PolicyHost, type PolicyHostContext } from "./policy-host.ts"
