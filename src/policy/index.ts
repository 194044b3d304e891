/** Policies and handlers as they are declared; `runner` runs them. */
export { type BalancedEndpoint, type BalancerDefinition, defineBalancer } from "./define-balancer.ts"
export { defineHandler, type HandlerDefinition } from "./define-handler.ts"
export { type CheckedEndpoint, defineHealthCheck, type HealthCheckDefinition } from "./define-health-check.ts"
export {
  definePolicy,
  type Policy,
  type PolicyDefinition,
  type PolicyShadow,
  type PolicyUse,
  shadowKey,
  type VerdictCache,
} from "./define-policy.ts"
export { defineRegistry, type RegistryDefinition, type RegistryInstance } from "./define-registry.ts"
export {
  type AnyPolicy,
  BUILT_IN_STEPS,
  balancerOf,
  type Functions,
  handlerOf,
  healthCheckOf,
  markHandler,
  NO_FUNCTIONS,
  policyOf,
  registryOf,
} from "./definition.ts"
export { byCookie, byHeader, byQuery, fieldsOf, toFieldPlan, toKeyPlan } from "./fields.ts"
export { PSK_MAX, toHex } from "./key-text.ts"
