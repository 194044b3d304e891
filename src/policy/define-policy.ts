/**
 * definePolicy: a routing decision as a TypeScript function, with everything that can
 * be data as data: `filter` and `cache` are tested natively, so that `decide` only
 * runs for messages that match and whose verdict is not known yet.
 */
import { TidegateError } from "../errors.ts"
import type { Field, Key, Match } from "../model/match.ts"
import type { PolicyMessage, Verdict } from "../model/message.ts"
import { type AnyPolicy, checkName, markPolicy } from "./definition.ts"

/** What a verdict cache remembers and for how long. */
export interface VerdictCache {
  /** Of a list all parts together are the key. */
  readonly by: Key | readonly Key[]
  /** 1 to 3,600,000. */
  readonly ttlMs: number
  /** Default 10,000 per worker. */
  readonly maxEntries?: number
}

/** The declaration of a policy. `O` are the options of each use. */
export interface PolicyDefinition<O extends object = Record<string, never>> {
  /** Label of its metrics and its name in YAML. */
  readonly name: string
  /** Policies of a route run by ascending order; default 0; equal ones as written. */
  readonly order?: number
  /** Without a verdict after that long the fallback holds; default 5, 1 to 60,000. */
  readonly deadlineMs?: number
  /** What holds when `decide` throws, is late or returns rubbish; default `continue`. */
  readonly fallback?: "continue" | "reject"
  /** Only messages that match reach `decide`; default: all of the route. */
  readonly filter?: (options: O) => Match
  readonly cache?: (options: O) => VerdictCache
  /** Fields `decide` reads besides method, host, path, topic, client id, protocol, source and those of `filter` and `cache`. */
  readonly reads?: (options: O) => readonly Field[]
  readonly decide: (message: PolicyMessage, options: O) => Verdict | Promise<Verdict>
  /** What this code is called, in the admin API. */
  readonly version?: string
  /** The next version, which runs beside this one and decides nothing: where its verdict differs is counted and told. */
  readonly shadow?: PolicyShadow<O>
}

/** A version in shadow. It sees the fields that the policy declares, of the messages that reach `decide`. */
export interface PolicyShadow<O extends object = Record<string, never>> {
  readonly version?: string
  readonly decide: (message: PolicyMessage, options: O) => Verdict | Promise<Verdict>
}

/** One use of a policy: `{ name: options }`, the same as in YAML. */
export type PolicyUse = Readonly<Record<string, unknown>>

/** Called with options it gives a use for `use: [...]`. */
export interface Policy<O extends object> {
  (options?: O): PolicyUse
  readonly definition: PolicyDefinition<O>
}

/** Declares a policy. Throws POLICY_INVALID when a field is wrong. */
export function definePolicy<O extends object = Record<string, never>>(definition: PolicyDefinition<O>): Policy<O> {
  check(definition)
  const untyped = definition as unknown as AnyPolicy
  const use = (options?: O): PolicyUse => markPolicy({ [definition.name]: options ?? {} }, untyped)
  return markPolicy(Object.assign(use, { definition }), untyped)
}

/** What tells one pair of versions from another. */
export function shadowKey({ name, version, shadow }: Pick<AnyPolicy, "name" | "version" | "shadow">): string {
  return JSON.stringify([name, version ?? null, shadow?.version ?? null])
}

function check<O extends object>(definition: PolicyDefinition<O>): void {
  const { name, deadlineMs, fallback, decide, shadow, ...data } = definition
  checkName("policy", name)
  const refuse = (text: string): never => {
    throw new TidegateError("POLICY_INVALID", `policy "${name}": ${text}`)
  }
  if (typeof decide !== "function") refuse("decide must be a function")
  if (shadow !== undefined && typeof shadow?.decide !== "function") refuse("shadow.decide must be a function")
  for (const part of ["filter", "cache", "reads"] as const) {
    if (data[part] === undefined || typeof data[part] === "function") continue
    refuse(`${part} must be a function of the options; write ${part}: () => (...)`)
  }
  if (deadlineMs !== undefined && !(deadlineMs >= 1 && deadlineMs <= 60_000)) refuse("deadlineMs must be 1 to 60000")
  if (fallback !== undefined && fallback !== "continue" && fallback !== "reject") {
    refuse('fallback must be "continue" or "reject"')
  }
}
