/** Policies and handlers: declared here, run by `runner.ts` in whatever thread holds it. */

export { payloadOf } from "./broker-verdict.ts"
export { type BalancedEndpoint, type BalancerDefinition, defineBalancer } from "./define-balancer.ts"
export { defineHandler, type HandlerDefinition } from "./define-handler.ts"
export { type CheckedEndpoint, defineHealthCheck, type HealthCheckDefinition } from "./define-health-check.ts"
export { definePolicy, type Policy, type PolicyDefinition, type PolicyUse, type VerdictCache } from "./define-policy.ts"
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
export { createPolicyMessage } from "./message.ts"
export { type Complain, PolicyRunner, type Program, type RunningMark, type Script } from "./runner.ts"
export { toVerdictRecord, type VerdictRecord } from "./verdict.ts"
