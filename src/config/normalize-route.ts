/** Routes with their defaults: conditions and targets as plan data, steps in the order they run. */
import { resolve } from "node:path"
import type { HeaderPlan, TargetPlan } from "../native/index.ts"
import {
  type RateLimitOptions,
  type RetryOptions,
  type TimeoutOptions,
  toRateLimitStep,
  toRetryPlan,
} from "../resilience/index.ts"
import { routeName, toMatchPlan } from "../route/index.ts"
import type { NormalizedRoute, NormalizedStep } from "./normalized.ts"
import type { RouteData } from "./schema/index.ts"

type Use = NonNullable<RouteData["use"]>[number]
type Respond = { status?: number; body?: string; headers?: Record<string, string> }
type Build = (options: never, owner: string) => NormalizedStep | null

/** `folder`: where relative directories start. */
export function normalizeRoute(data: RouteData, folder: string): NormalizedRoute {
  const { priority = 0, timeoutMs = 15_000 } = data
  const when = toMatchPlan(data.when)
  const name = data.name ?? routeName(when, priority)
  return {
    name,
    priority,
    when,
    target: toTarget(data.to, folder),
    mirror: data.mirror ?? null,
    steps: (data.use ?? []).flatMap((use) => toSteps(use, name)),
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

/** Built-in steps; a breaker is none, it belongs to the upstream. */
const BUILD: Readonly<Record<string, Build>> = {
  retry: (options: RetryOptions) => ({ kind: "retry", retry: toRetryPlan(options) }),
  timeout: ({ ms, perTryMs }: TimeoutOptions) => ({ kind: "timeout", ms, perTryMs: perTryMs ?? null }),
  breaker: () => null,
  rateLimit: (options: RateLimitOptions, owner) => toRateLimitStep(options, owner) as NormalizedStep,
  setHeader: (headers: Record<string, string>) => ({ kind: "setHeader", headers: toHeaders(headers) }),
  removeHeader: (names: string | string[]) => ({ kind: "removeHeader", names: [names].flat() }),
  setResponseHeader: (headers: Record<string, string>) => ({ kind: "setResponseHeader", headers: toHeaders(headers) }),
  removeResponseHeader: (names: string | string[]) => ({ kind: "removeResponseHeader", names: [names].flat() }),
  rewrite: ({
    path = null,
    host = null,
    topic = null,
  }: {
    path?: string | null
    host?: string | null
    topic?: string | null
  }) => {
    return { kind: "rewrite", path, host, topic }
  },
  respond: (options: Respond) => ({ kind: "respond", ...toRespond(options) }),
}

function toSteps(use: Use, owner: string): NormalizedStep[] {
  if (typeof use === "string") return [{ kind: "policy", name: use, options: {} }]
  return Object.entries(use).flatMap(([name, options]) => {
    const build = BUILD[name]
    if (build === undefined)
      return [{ kind: "policy" as const, name, options: (options ?? {}) as Record<string, unknown> }]
    return build(options as never, owner) ?? []
  })
}

function toRespond({ status = 200, body = "", headers = {} }: Respond) {
  return { status, body, headers: toHeaders(headers) }
}

function toHeaders(headers: Readonly<Record<string, string>>): HeaderPlan[] {
  return Object.entries(headers)
}
