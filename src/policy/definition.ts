/**
 * How functions travel inside a configuration that is otherwise plain data: a policy
 * use, a handler target, a health check or a registry carries its definition under a symbol that no
 * serializer sees. `config/functions.ts` collects them by name.
 */
import { TidegateError } from "../errors.ts"
import type { BalancerDefinition } from "./define-balancer.ts"
import type { HandlerDefinition } from "./define-handler.ts"
import type { HealthCheckDefinition } from "./define-health-check.ts"
import type { PolicyDefinition } from "./define-policy.ts"
import type { RegistryDefinition } from "./define-registry.ts"

/** A policy whose options are no longer typed. */
export type AnyPolicy = PolicyDefinition<Readonly<Record<string, unknown>>>

/** Everything that has a function, by name. */
export interface Functions {
  readonly policies: ReadonlyMap<string, AnyPolicy>
  readonly handlers: ReadonlyMap<string, HandlerDefinition>
  readonly healthChecks: ReadonlyMap<string, HealthCheckDefinition>
  readonly registries: ReadonlyMap<string, RegistryDefinition>
  readonly balancers: ReadonlyMap<string, BalancerDefinition>
}

export const NO_FUNCTIONS: Functions = {
  policies: new Map(),
  handlers: new Map(),
  healthChecks: new Map(),
  registries: new Map(),
  balancers: new Map(),
}

const POLICY = Symbol.for("tidegate.policy")
const HANDLER = Symbol.for("tidegate.handler")
const HEALTH_CHECK = Symbol.for("tidegate.healthCheck")
const REGISTRY = Symbol.for("tidegate.registry")
const BALANCER = Symbol.for("tidegate.balancer")
const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/

/** Names of the built-in steps; a policy may not take one. */
export const BUILT_IN_STEPS = [
  "retry",
  "timeout",
  "breaker",
  "rateLimit",
  "setHeader",
  "addHeader",
  "removeHeader",
  "setResponseHeader",
  "addResponseHeader",
  "removeResponseHeader",
  "cors",
  "apiKey",
  "basicAuth",
  "compress",
  "cache",
  "bodyLimit",
  "bulkhead",
  "rewrite",
  "respond",
] as const

/** Hangs the definition onto `target`, out of sight of JSON and of object spreads. */
export function markPolicy<T extends object>(target: T, definition: AnyPolicy): T {
  return Object.defineProperty(target, POLICY, { value: definition, enumerable: false })
}

export function markHandler<T extends object>(target: T, definition: HandlerDefinition): T {
  return Object.defineProperty(target, HANDLER, { value: definition, enumerable: false })
}

export function markHealthCheck<T extends object>(target: T, definition: HealthCheckDefinition): T {
  return Object.defineProperty(target, HEALTH_CHECK, { value: definition, enumerable: false })
}

export function markRegistry<T extends object>(target: T, definition: RegistryDefinition): T {
  return Object.defineProperty(target, REGISTRY, { value: definition, enumerable: false })
}

export function markBalancer<T extends object>(target: T, definition: BalancerDefinition): T {
  return Object.defineProperty(target, BALANCER, { value: definition, enumerable: false })
}

/** The policy that hangs on a value, or null. */
export function policyOf(value: unknown): AnyPolicy | null {
  return marked<AnyPolicy>(value, POLICY)
}

export function handlerOf(value: unknown): HandlerDefinition | null {
  return marked<HandlerDefinition>(value, HANDLER)
}

export function healthCheckOf(value: unknown): HealthCheckDefinition | null {
  return marked<HealthCheckDefinition>(value, HEALTH_CHECK)
}

export function registryOf(value: unknown): RegistryDefinition | null {
  return marked<RegistryDefinition>(value, REGISTRY)
}

export function balancerOf(value: unknown): BalancerDefinition | null {
  return marked<BalancerDefinition>(value, BALANCER)
}

/** Refuses a name that could not be a label or that a built-in step has. */
export function checkName(kind: string, name: unknown): void {
  if (typeof name !== "string" || !NAME.test(name)) {
    throw new TidegateError("POLICY_INVALID", `${kind} name ${JSON.stringify(name)} must match ${NAME.source}`)
  }
  if ((BUILT_IN_STEPS as readonly string[]).includes(name)) {
    throw new TidegateError("POLICY_INVALID", `${kind} name "${name}" is the name of a built-in step`)
  }
}

function marked<T>(value: unknown, symbol: symbol): T | null {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return null
  return ((value as Record<symbol, unknown>)[symbol] as T | undefined) ?? null
}
