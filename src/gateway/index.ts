/** The gateway as a value. */
export { ConfigDesk, type InitialConfig, initialConfig } from "./config-desk.ts"
export { createGateway, createLoadedGateway } from "./create-gateway.ts"
export { Gateway } from "./gateway.ts"
export type { GatewayOptions, GatewayState, GatewayStats } from "./options.ts"
export { type CreatePolicyHost, inlinePolicyHost, type PolicyHost, type PolicyHostContext } from "./policy-host.ts"
export { PolicyThreadHost, type ThreadHostOptions } from "./policy-thread-host.ts"
