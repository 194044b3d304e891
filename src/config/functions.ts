/**
 * Splits what a TypeScript configuration exports into plain data, as YAML would give
 * it, and the functions that hang on it, by name.
 */
import { TidegateError } from "../errors.ts"
import {
  type AnyPolicy,
  type BalancerDefinition,
  balancerOf,
  type Functions,
  type HandlerDefinition,
  type HealthCheckDefinition,
  handlerOf,
  healthCheckOf,
  policyOf,
  type RegistryDefinition,
  registryOf,
} from "../policy/index.ts"
import { mapTurns, type Turns } from "../turns.ts"

/** Data and functions of one configuration. */
export interface SplitConfig {
  readonly data: unknown
  readonly functions: Functions
}

interface Found {
  readonly policies: Map<string, AnyPolicy>
  readonly handlers: Map<string, HandlerDefinition>
  readonly healthChecks: Map<string, HealthCheckDefinition>
  readonly registries: Map<string, RegistryDefinition>
  readonly balancers: Map<string, BalancerDefinition>
}

/** Throws POLICY_INVALID when two functions have one name. */
export function* splitFunctions(raw: unknown, extra: readonly unknown[] = []): Turns<SplitConfig> {
  const found: Found = {
    policies: new Map(),
    handlers: new Map(),
    healthChecks: new Map(),
    registries: new Map(),
    balancers: new Map(),
  }
  for (const value of extra) collect(value, found)
  return { data: yield* toTopData(raw, found), functions: found }
}

/** The lists of a configuration may be long. */
function* toTopData(raw: unknown, found: Found): Turns<unknown> {
  const isPlain = raw !== null && typeof raw === "object" && !Array.isArray(raw)
  if (!isPlain) return toData(raw, found)
  collect(raw, found)
  const data: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(raw)) {
    if (Array.isArray(inner)) data[key] = yield* mapTurns(inner, (item: unknown) => toItem(item, found))
    else if (inner !== undefined) data[key] = toData(inner, found)
  }
  return data
}

function toData(value: unknown, found: Found): unknown {
  if (value === null || (typeof value !== "object" && typeof value !== "function")) return value
  collect(value, found)
  const check = healthCheckOf(value)
  if (check !== null) return check.name
  const registry = registryOf(value)
  if (registry !== null) return { registry: registry.name }
  const balancer = balancerOf(value)
  if (balancer !== null) return { custom: balancer.name }
  if (typeof value === "function") return policyOf(value)?.name ?? value
  if (Array.isArray(value)) return value.map((item: unknown) => toItem(item, found))
  const data: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value)) {
    if (inner !== undefined)
      data[key] = key === "to" && isHandler(inner) ? toTarget(inner, found) : toData(inner, found)
  }
  return data
}

/** In a list a handler stands for its name. */
function toItem(value: unknown, found: Found): unknown {
  if (!isHandler(value)) return toData(value, found)
  collect(value, found)
  return handlerOf(value)?.name
}

function toTarget(value: unknown, found: Found): unknown {
  collect(value, found)
  return { handler: handlerOf(value)?.name }
}

function isHandler(value: unknown): boolean {
  return handlerOf(value) !== null && typeof (value as { handle?: unknown }).handle === "function"
}

function collect(value: unknown, { policies, handlers, healthChecks, registries, balancers }: Found): void {
  const policy = policyOf(value)
  if (policy !== null) add(policies, policy, "policy")
  const handler = handlerOf(value)
  if (handler !== null) add(handlers, handler, "handler")
  const check = healthCheckOf(value)
  if (check !== null) add(healthChecks, check, "health check")
  const registry = registryOf(value)
  if (registry !== null) add(registries, registry, "registry")
  const balancer = balancerOf(value)
  if (balancer !== null) add(balancers, balancer, "balancer")
}

function add<T extends { readonly name: string }>(known: Map<string, T>, definition: T, kind: string): void {
  const other = known.get(definition.name)
  if (other !== undefined && other !== definition) {
    throw new TidegateError("POLICY_INVALID", `two different definitions share the ${kind} name "${definition.name}"`)
  }
  known.set(definition.name, definition)
}
