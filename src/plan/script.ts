/** One use of a TypeScript policy as plan data, and the functions the plan's indexes stand for. */
import type { NormalizedConfig, NormalizedHooks } from "../config/index.ts"
import type { HooksPlan, Plan, ScriptPlan } from "../native/index.ts"
import { type AnyPolicy, type BalancerDefinition, type Functions, fieldsOf, toKeyPlan } from "../policy/index.ts"
import { toMatchPlan } from "../route/index.ts"
import type { Program } from "../runner/index.ts"

type Options = Readonly<Record<string, unknown>>

export function toScriptPlan(policy: AnyPolicy, options: Options, id: number): ScriptPlan {
  const cache = policy.cache?.(options)
  return {
    id,
    policy: policy.name,
    filter: policy.filter === undefined ? null : toMatchPlan(policy.filter(options)),
    cache:
      cache === undefined
        ? null
        : { by: toKeyPlan(cache.by), ttlMs: cache.ttlMs, maxEntries: cache.maxEntries ?? 10_000 },
    reads: fieldsOf(policy, options),
    deadlineMs: policy.deadlineMs ?? 5,
    fallback: policy.fallback ?? "continue",
  }
}

/** As a policy without filter and cache: whatever goes wrong leaves the choice to native. */
export function toBalancerPlan({ name, deadlineMs = 5, reads = [] }: BalancerDefinition, id: number): ScriptPlan {
  const policy: AnyPolicy = { name, reads: () => reads, decide: () => undefined }
  return { id, policy: name, filter: null, cache: null, reads: fieldsOf(policy, {}), deadlineMs, fallback: "continue" }
}

/** The upstream of a route whose endpoints a function picks; null for other routes. */
export function balancerOfRoute(
  { target }: NormalizedConfig["routes"][number],
  { upstreams }: NormalizedConfig,
): NormalizedConfig["upstreams"][number] | null {
  const name = target.kind === "upstreams" && target.split.length === 1 ? target.split[0]?.upstream : undefined
  const upstream = upstreams.find((other) => other.name === name)
  return upstream === undefined || upstream.balancer === null ? null : upstream
}

/** What another thread needs to build the program of a plan by itself: names and options only. */
export interface ProgramData {
  readonly planVersion: number
  readonly scripts: readonly {
    readonly policy: string
    readonly options: Options
    readonly reads: ScriptPlan["reads"]
    /** Of a balancer: the upstream whose endpoints it picks. */
    readonly upstream: string | null
  }[]
  readonly handlers: readonly string[]
}

/** The script table of a plan with each use's options. */
export function programData(plan: Plan, config: NormalizedConfig, functions: Functions): ProgramData {
  const ofRoutes = config.routes.flatMap((route, index) => {
    const policies = route.steps.filter((step) => step.kind === "policy")
    const ids = (plan.routes[index]?.steps ?? []).filter((step) => step.kind === "script")
    const ordered = [...policies].sort((a, b) => order(functions, a.name) - order(functions, b.name))
    const upstream = balancerOfRoute(route, config)?.name ?? null
    return ids.map(({ script }, place) => {
      // The balancer's step stands behind those of the policies.
      return { script, options: ordered[place]?.options ?? {}, upstream: place < ordered.length ? null : upstream }
    })
  })
  const uses = [...ofRoutes, ...hookUses(plan, config, functions)]
  const scripts = plan.scripts.map(({ id, policy, reads }) => {
    const { options = {}, upstream = null } = uses.find(({ script }) => script === id) ?? {}
    return { policy, reads, options, upstream }
  })
  return { planVersion: plan.version, scripts, handlers: plan.handlers.map(({ name }) => name) }
}

/** Puts the functions to the names. A name without a function answers with its fallback. */
export function toProgram({ planVersion, scripts, handlers }: ProgramData, functions: Functions): Program {
  return {
    planVersion,
    scripts: scripts.map(({ policy: name, options, reads, upstream }) => {
      const balancer = upstream === null ? undefined : functions.balancers.get(name)
      const balance = balancer === undefined || upstream === null ? null : { balancer, upstream }
      const policy = functions.policies.get(name) ?? gone(name)
      return { policy: balancer === undefined ? policy : gone(name), options, reads, balance }
    }),
    handlers: handlers.map((name) => functions.handlers.get(name) ?? { name, handle: () => ({ status: 500 }) }),
  }
}

function order({ policies }: Functions, name: string): number {
  return policies.get(name)?.order ?? 0
}

function gone(name: string): AnyPolicy {
  return {
    name,
    decide: () => {
      throw new Error(`policy "${name}" is not there any more`)
    },
  }
}

type Hook = keyof HooksPlan
type Use = NormalizedHooks[Hook][number]

/** The policies of the broker's hooks, behind those of the routes: adds each use to `scripts` and says where it stands. */
export function toHooks(hooks: NormalizedConfig["hooks"], functions: Functions, scripts: ScriptPlan[]): HooksPlan {
  const toPlan = ({ name, options }: Use): number => {
    const id = scripts.length
    // The configuration's check has refused names that do not exist.
    const policy = functions.policies.get(name) ?? { name, decide: () => undefined }
    scripts.push(toScriptPlan(policy, options, id))
    return id
  }
  const entries = Object.entries(hooks).map(([hook, uses]) => [hook, inOrder(uses, functions).map(toPlan)] as const)
  return Object.fromEntries(entries) as unknown as HooksPlan
}

/** The options of each hook's scripts. */
function hookUses(
  { hooks }: Plan,
  config: NormalizedConfig,
  functions: Functions,
): { script: number; options: Use["options"]; upstream: null }[] {
  return (Object.keys(hooks) as Hook[]).flatMap((hook) => {
    const uses = inOrder(config.hooks[hook], functions)
    return hooks[hook].map((script, place) => ({ script, options: uses[place]?.options ?? {}, upstream: null }))
  })
}

function inOrder(uses: readonly Use[], { policies }: Functions): readonly Use[] {
  return [...uses].sort((a, b) => (policies.get(a.name)?.order ?? 0) - (policies.get(b.name)?.order ?? 0))
}
