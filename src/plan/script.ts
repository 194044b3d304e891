/** One use of a TypeScript policy as plan data, and the functions the plan's indexes stand for. */
import type { NormalizedConfig, NormalizedHooks } from "../config/index.ts"
import type { HooksPlan, Plan, ScriptPlan } from "../native/index.ts"
import { type AnyPolicy, type BalancerDefinition, type Functions, fieldsOf, toKeyPlan } from "../policy/index.ts"
import { toMatchPlan } from "../route/index.ts"
import type { Program } from "../runner/index.ts"
import { mapTurns, type Turns } from "../turns.ts"

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

type Balanced = ReadonlyMap<string, NormalizedConfig["upstreams"][number]>

/** The upstreams whose endpoints a function picks, by name. */
export function balancedUpstreams({ upstreams }: NormalizedConfig): Balanced {
  return new Map(upstreams.filter(({ balancer }) => balancer !== null).map((upstream) => [upstream.name, upstream]))
}

/** The upstream of a route whose endpoints a function picks; null for other routes. */
export function balancerOfRoute(
  { target }: NormalizedConfig["routes"][number],
  balanced: Balanced,
): NormalizedConfig["upstreams"][number] | null {
  if (target.kind !== "upstreams" || target.split.length !== 1) return null
  return balanced.get(target.split[0]?.upstream ?? "") ?? null
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
export function* programData(plan: Plan, config: NormalizedConfig, functions: Functions): Turns<ProgramData> {
  const balanced = balancedUpstreams(config)
  const uses = new Map<number, { readonly options: Options; readonly upstream: string | null }>()
  yield* mapTurns(config.routes, (route, index) => {
    const ids = (plan.routes[index]?.steps ?? []).filter((step) => step.kind === "script")
    if (ids.length === 0) return
    const policies = route.steps.filter((step) => step.kind === "policy")
    const ordered = [...policies].sort((a, b) => order(functions, a.name) - order(functions, b.name))
    const upstream = balancerOfRoute(route, balanced)?.name ?? null
    for (const [place, { script }] of ids.entries()) {
      // The balancer's step stands behind those of the policies.
      const isPick = place >= ordered.length
      uses.set(script, { options: ordered[place]?.options ?? {}, upstream: isPick ? upstream : null })
    }
  })
  for (const { script, options } of hookUses(plan, config, functions)) uses.set(script, { options, upstream: null })
  const scripts = yield* mapTurns(plan.scripts, ({ id, policy, reads }) => {
    const { options = {}, upstream = null } = uses.get(id) ?? {}
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
): { script: number; options: Use["options"] }[] {
  return (Object.keys(hooks) as Hook[]).flatMap((hook) => {
    const uses = inOrder(config.hooks[hook], functions)
    return hooks[hook].map((script, place) => ({ script, options: uses[place]?.options ?? {} }))
  })
}

function inOrder(uses: readonly Use[], { policies }: Functions): readonly Use[] {
  return [...uses].sort((a, b) => (policies.get(a.name)?.order ?? 0) - (policies.get(b.name)?.order ?? 0))
}
