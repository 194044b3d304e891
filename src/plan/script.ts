/** One use of a TypeScript policy as plan data, and the functions the plan's indexes stand for. */
import type { NormalizedConfig } from "../config/index.ts"
import type { Plan, ScriptPlan } from "../native/index.ts"
import { type AnyPolicy, type Functions, fieldsOf, type Program, toKeyPlan } from "../policy/index.ts"
import { toMatchPlan } from "../route/index.ts"

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

/** What another thread needs to build the program of a plan by itself: names and options only. */
export interface ProgramData {
  readonly planVersion: number
  readonly scripts: readonly {
    readonly policy: string
    readonly options: Options
    readonly reads: ScriptPlan["reads"]
  }[]
  readonly handlers: readonly string[]
}

/** The script table of a plan with each use's options. */
export function programData(plan: Plan, config: NormalizedConfig, functions: Functions): ProgramData {
  const uses = config.routes.flatMap((route, index) => {
    const policies = route.steps.filter((step) => step.kind === "policy")
    const ids = (plan.routes[index]?.steps ?? []).filter((step) => step.kind === "script")
    const ordered = [...policies].sort((a, b) => order(functions, a.name) - order(functions, b.name))
    return ids.map(({ script }, place) => ({ script, options: ordered[place]?.options ?? {} }))
  })
  const scripts = plan.scripts.map(({ id, policy, reads }) => {
    return { policy, reads, options: uses.find(({ script }) => script === id)?.options ?? {} }
  })
  return { planVersion: plan.version, scripts, handlers: plan.handlers.map(({ name }) => name) }
}

/** Puts the functions to the names. A name without a function answers with its fallback. */
export function toProgram({ planVersion, scripts, handlers }: ProgramData, functions: Functions): Program {
  return {
    planVersion,
    scripts: scripts.map(({ policy, options, reads }) => ({
      policy: functions.policies.get(policy) ?? gone(policy),
      options,
      reads,
    })),
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
