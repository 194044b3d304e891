/**
 * compile: normalized configuration, endpoints and health in, Plan out. Pure: no
 * clock, no file, no name lookup. A broken part carries its `problem` and fails alone.
 */
import { createHash } from "node:crypto"
import type { NormalizedConfig, NormalizedStep } from "../config/index.ts"
import type { EndpointPlan, HandlerPlan, Plan, RoutePlan, ScriptPlan, StepPlan, UpstreamPlan } from "../native/index.ts"
import type { Functions } from "../policy/index.ts"
import { mapTurns, type Turns } from "../turns.ts"
import { balancedUpstreams, balancerOfRoute, toBalancerPlan, toHooks, toScriptPlan } from "./script.ts"

/** Endpoints of one upstream, their names resolved. */
export interface UpstreamEndpoints {
  readonly endpoints: readonly EndpointPlan[]
  /** Why there may be fewer than configured, or null. */
  readonly problem: string | null
}

export interface PlanInputs {
  readonly version: number
  readonly config: NormalizedConfig
  readonly functions: Functions
  readonly endpoints: ReadonlyMap<string, UpstreamEndpoints>
}

export function* compile(inputs: PlanInputs): Turns<Plan> {
  const { version, config, functions } = inputs
  const scripts: ScriptPlan[] = []
  const balanced = balancedUpstreams(config)
  const routes = yield* mapTurns(config.routes, (route): RoutePlan => {
    const balancer = balancerOfRoute(route, balanced)
    if (route.steps.length === 0 && balancer === null) return route as RoutePlan
    const ordered = orderPolicies(route.steps, functions)
    const steps = ordered.map((step) => toStep(step, functions, scripts))
    return { ...route, steps: [...steps, ...toPick(balancer, functions, scripts)] }
  })
  const hooks = toHooks(config.hooks, functions, scripts)
  return {
    version,
    listeners: config.listeners,
    upstreams: config.upstreams.map((upstream) => toUpstream(upstream, inputs)),
    routes,
    scripts,
    handlers: [...functions.handlers.values()].map(toHandler),
    broker: config.broker,
    hooks,
    mqtt: config.mqtt,
    coap: config.coap,
    access: config.access,
    limits: config.limits,
    log: { sampleEvery: config.log.sampleEvery, access: config.log.access },
    forward: config.forward,
    explain: toExplain(config.admin),
    tracing: config.tracing === null ? null : { ratio: config.tracing.ratio },
  }
}

/** Whoever may call the admin API may have answers explained; without a token nobody is asked who they are. */
function toExplain(admin: NormalizedConfig["admin"]): string[] {
  const tokens = [admin?.token ?? null, admin?.readToken ?? null].filter((token) => token !== null)
  return tokens.map((token) => createHash("sha256").update(token).digest("hex"))
}

function toUpstream(upstream: NormalizedConfig["upstreams"][number], { endpoints }: PlanInputs): UpstreamPlan {
  const { service, health, endpoints: _, problem, balancer: __, subset: ___, preferZone: ____, ...rest } = upstream
  const { slowStartMs: _____, goals: ______, ...plan } = rest
  const found = endpoints.get(upstream.name) ?? { endpoints: [], problem: null }
  const empty = found.endpoints.length === 0 && service === null ? (found.problem ?? "it has no endpoints") : null
  return { ...plan, endpoints: found.endpoints, problem: problem ?? empty }
}

/** Policies of a route among themselves by their `order`; built-in steps stay where they are written. */
function orderPolicies(steps: readonly NormalizedStep[], { policies }: Functions): readonly NormalizedStep[] {
  const uses = steps
    .filter((step) => step.kind === "policy")
    .sort((a, b) => (policies.get(a.name)?.order ?? 0) - (policies.get(b.name)?.order ?? 0))
  return steps.map((step) => (step.kind === "policy" ? (uses.shift() ?? step) : step))
}

function toStep(step: NormalizedStep, { policies }: Functions, scripts: ScriptPlan[]): StepPlan {
  if (step.kind !== "policy") return step
  const policy = policies.get(step.name)
  // The configuration's check has refused names that do not exist.
  if (policy === undefined) return { kind: "respond", status: 500, headers: [], body: `no policy ${step.name}\n` }
  const script = scripts.length
  scripts.push(toScriptPlan(policy, step.options, script))
  return { kind: "script", script }
}

/** A balancer in TypeScript is asked behind the policies of each route to its upstream. */
function toPick(
  upstream: NormalizedConfig["upstreams"][number] | null,
  { balancers }: Functions,
  scripts: ScriptPlan[],
): StepPlan[] {
  const balancer = balancers.get(upstream?.balancer ?? "")
  if (balancer === undefined) return []
  const script = scripts.length
  scripts.push(toBalancerPlan(balancer, script))
  return [{ kind: "script", script }]
}

function toHandler({
  name,
  deadlineMs = 1_000,
  maxBodyBytes = 65_536,
}: {
  name: string
  deadlineMs?: number
  maxBodyBytes?: number
}): HandlerPlan {
  return { name, deadlineMs, maxBodyBytes }
}
