/** Routes with their defaults: conditions and targets as plan data, steps in the order they run. */
import { resolve } from "node:path"
import type { TargetPlan } from "../native/index.ts"
import { routeName, toMatchPlan } from "../route/index.ts"
import { toRespond, toSteps } from "./normalize-steps.ts"
import type { NormalizedRoute } from "./normalized.ts"
import type { Path } from "./path.ts"
import type { RouteData, SecretData } from "./schema/index.ts"

/** What a route needs to know of the rest of the configuration. */
export interface RouteContext {
  /** Where relative directories start. */
  readonly folder: string
  /** Names and hashes of those who have a password. */
  readonly users: readonly (readonly [name: string, hash: string])[]
  readonly secret: (given: SecretData, path: Path) => string
}

export function normalizeRoute(data: RouteData, index: number, context: RouteContext): NormalizedRoute {
  const { priority = 0, timeoutMs = 15_000, use = [] } = data
  const when = toMatchPlan(data.when)
  const name = data.name ?? routeName(when, priority)
  return {
    name,
    priority,
    when,
    target: toTarget(data.to, context.folder),
    mirror: data.mirror ?? null,
    steps: use.flatMap((step, at) => {
      const secret = (given: SecretData, key: string): string =>
        context.secret(given, ["routes", index, "use", at, key])
      return toSteps(step, { owner: name, timeoutMs, users: context.users, secret })
    }),
    timeoutMs,
    problem: null,
  }
}

function toTarget(to: RouteData["to"], folder: string): TargetPlan {
  if (typeof to === "string") return { kind: "upstreams", split: [{ upstream: to, weight: 1 }] }
  if (Array.isArray(to)) {
    return { kind: "upstreams", split: to.map(({ upstream, weight = 1 }) => ({ upstream, weight })) }
  }
  const target = to as Exclude<RouteData["to"], string | unknown[]>
  if (target.respond !== undefined) return { kind: "respond", ...toRespond(target.respond) }
  if (target.redirect !== undefined) {
    return { kind: "redirect", location: target.redirect.location, status: target.redirect.status ?? 302 }
  }
  if (target.topic !== undefined) return { kind: "topic", topic: target.topic }
  if (target.handler !== undefined) return { kind: "handler", name: target.handler }
  if (target.directory !== undefined) return { kind: "directory", path: resolve(folder, target.directory) }
  return { kind: "upstreams", split: [{ upstream: target.upstream ?? "", weight: 1 }] }
}
