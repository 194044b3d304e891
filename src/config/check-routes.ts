/** Routes: the names they mention, the conditions they state, the steps they use. */
import { BUILT_IN_STEPS, type Functions } from "../policy/index.ts"
import { matchFaults, topicFilterFault } from "../route/index.ts"
import { mapTurns, type Turns } from "../turns.ts"
import type { Attempt, Report } from "./check.ts"
import { checkTemplates } from "./check-templates.ts"
import { didYouMean } from "./nearest.ts"
import type { Path } from "./path.ts"
import type { ConfigData, RouteData } from "./schema/index.ts"
import { stableJson } from "./stable.ts"

type StepData = Exclude<NonNullable<RouteData["use"]>[number], string>

interface Context {
  readonly data: ConfigData
  readonly functions: Functions
  readonly report: Report
  readonly attempt: Attempt
}

export function* checkRoutes(context: Context): Turns<void> {
  const { data, report, attempt } = context
  const names = new Map<string, number>()
  const routes = Array.isArray(data.routes) ? data.routes : []
  yield* mapTurns(routes, (route, index) => {
    attempt(() => checkRoute(route, index, context))
    const first = route?.name === undefined ? undefined : names.get(route.name)
    if (first !== undefined)
      report(["routes", index, "name"], `"${route.name}" is already the name of routes[${first}]`)
    if (route?.name !== undefined) names.set(route.name, index)
  })
  attempt(() => checkBreakers(data, report))
}

function checkRoute(route: RouteData, index: number, context: Context): void {
  const { report, attempt } = context
  const at: Path = ["routes", index]
  attempt(() => {
    for (const { key, message } of matchFaults(route.when)) report([...at, "when", ...key.split(".")], message)
    if (Object.keys(route.when).length === 0)
      report([...at, "when"], "say at least one condition, such as path or topic")
  })
  attempt(() => checkTarget(route, at, context))
  attempt(() => checkTemplates(route, at, report))
  if (route.mirror !== undefined) checkUpstreamName(route.mirror, [...at, "mirror"], context)
  for (const [step, use] of (route.use ?? []).entries()) {
    checkStep(use, [...at, "use", step], context)
    checkStepOptions(use, [...at, "use", step], context)
  }
}

function checkTarget({ to }: RouteData, at: Path, context: Context): void {
  const path: Path = [...at, "to"]
  if (typeof to === "string") return checkUpstreamName(to, path, context)
  if (Array.isArray(to)) return checkSplit(to, path, context)
  const target = to as Exclude<RouteData["to"], string | unknown[]>
  const given = Object.keys(target)
  if (given.length !== 1) {
    return context.report(path, `say exactly one target: upstream, respond, redirect, topic, handler or directory`)
  }
  if (target.upstream !== undefined) checkUpstreamName(target.upstream, [...path, "upstream"], context)
  if (target.handler !== undefined) checkHandlerName(target.handler, [...path, "handler"], context)
  if (target.topic !== undefined) checkTopic(target.topic, [...path, "topic"], context)
}

function checkSplit(split: readonly { upstream: string; weight?: number }[], path: Path, context: Context): void {
  const picks = (name: string): boolean => {
    const balance = context.data.upstreams?.[name]?.balance
    return typeof balance === "object" && balance.custom !== undefined
  }
  for (const [index, { upstream }] of split.length > 1 ? split.entries() : []) {
    if (picks(upstream))
      context.report([...path, index], `"${upstream}" has a balancer in TypeScript, which a split cannot ask`)
  }
  for (const [index, part] of split.entries()) checkUpstreamName(part.upstream, [...path, index, "upstream"], context)
  if (split.every(({ weight }) => weight === 0)) context.report(path, "at least one weight must be above 0")
}

function checkUpstreamName(name: string, path: Path, { data, report }: Context): void {
  if (Object.hasOwn(data.upstreams ?? {}, name)) return
  const known = Object.keys(data.upstreams ?? {})
  const hint =
    didYouMean(name, known) || (known.length > 0 ? `; known: ${known.join(", ")}` : "; there are no upstreams")
  report(path, `upstream "${name}" does not exist${hint}`)
}

function checkHandlerName(name: string, path: Path, { functions, report }: Context): void {
  if (functions.handlers.has(name)) return
  report(path, `handler "${name}" does not exist${didYouMean(name, functions.handlers.keys())}`)
}

function checkTopic(topic: string, path: Path, { report }: Context): void {
  if (/[+#]/.test(topic)) report(path, "a topic to publish to has no wildcards")
  else if (topicFilterFault(topic) !== null) report(path, "is no topic")
}

function checkStep(use: string | object, path: Path, { functions, report }: Context): void {
  const names = typeof use === "string" ? [use] : Object.keys(use)
  const builtIn: readonly string[] = BUILT_IN_STEPS
  for (const name of names) {
    if (functions.policies.has(name) || (builtIn.includes(name) && typeof use !== "string")) continue
    const at = typeof use === "string" ? path : [...path, name]
    if (builtIn.includes(name)) report(at, `the step "${name}" stands with its options: { ${name}: { ... } }`)
    else
      report(
        at,
        `step or policy "${name}" does not exist${didYouMean(name, [...builtIn, ...functions.policies.keys()])}`,
      )
  }
}

/** What steps say that no schema can refuse. */
function checkStepOptions(use: string | object, path: Path, { data, report }: Context): void {
  const { cors, basicAuth, rateLimit } = (typeof use === "string" ? {} : use) as StepData
  if (cors?.credentials === true && (cors.origins ?? ["*"]).includes("*")) {
    report([...path, "cors", "credentials"], "name the origins that may send credentials; * would be every page")
  }
  if (rateLimit?.shared === true && data.rateLimits === undefined)
    report([...path, "rateLimit", "shared"], 'say where it is shared: "rateLimits" is not there')
  if (basicAuth !== undefined && Object.keys(basicAuth.users ?? data.auth?.users ?? {}).length === 0) {
    report([...path, "basicAuth"], 'there is nobody to let in: add "users" here, or auth.users')
  }
}

/** A breaker's state belongs to the upstream: two different ones would be one of them. */
function checkBreakers({ routes = [], upstreams = {} }: ConfigData, report: Report): void {
  const chosen = new Map<string, { text: string; where: string }>()
  for (const [name, { breaker }] of Object.entries(upstreams)) {
    if (breaker !== undefined) chosen.set(name, { text: stableJson(breaker), where: `upstreams.${name}` })
  }
  for (const [index, route] of routes.entries()) {
    for (const [step, use] of (route.use ?? []).entries()) {
      if (typeof use === "string" || use.breaker === undefined) continue
      const text = stableJson(use.breaker)
      for (const name of upstreamsOf(route)) {
        const other = chosen.get(name)
        if (other !== undefined && other.text !== text) {
          report(
            ["routes", index, "use", step, "breaker"],
            `upstream "${name}" already has another breaker by ${other.where}`,
          )
        }
        chosen.set(name, other ?? { text, where: `routes[${index}]` })
      }
    }
  }
}

/** Names of the upstreams a route may go to. */
export function upstreamsOf({ to }: Pick<RouteData, "to">): readonly string[] {
  if (typeof to === "string") return [to]
  if (Array.isArray(to)) return to.map(({ upstream }) => upstream)
  const { upstream } = to as { upstream?: string }
  return upstream === undefined ? [] : [upstream]
}
