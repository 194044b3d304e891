/** defineBalancer: which endpoint of an upstream takes a request, as a TypeScript function. */
import { TidegateError } from "../errors.ts"
import type { Field } from "../model/match.ts"
import type { PolicyMessage } from "../model/message.ts"
import { checkName, markBalancer } from "./definition.ts"

/** An endpoint that may be picked, with its state of at most 10 ms ago. */
export interface BalancedEndpoint {
  readonly id: string
  readonly address: string
  readonly weight: number
  /** 0 to 1, what checks and reported load leave of the weight. */
  readonly health: number
  /** Requests under way, of all workers. */
  readonly active: number
}

/** The declaration of a balancer; upstreams name it: `balance: stickiest`, in YAML `{ custom: stickiest }`. */
export interface BalancerDefinition {
  /** Label of its metrics, which are those of a policy. */
  readonly name: string
  /** Without a pick after that long the less busy of two endpoints is taken; default 5, 1 to 60,000. */
  readonly deadlineMs?: number
  /** Fields `pick` reads besides those that every policy may read. */
  readonly reads?: readonly Field[]
  /** The id of one of the endpoints; anything else leaves the choice to the gateway. */
  readonly pick: (
    message: PolicyMessage,
    endpoints: readonly BalancedEndpoint[],
  ) => string | null | undefined | Promise<string | null | undefined>
}

/** Declares a balancer. Throws POLICY_INVALID when a field is wrong. */
export function defineBalancer(definition: BalancerDefinition): BalancerDefinition {
  const { name, deadlineMs, pick } = definition
  checkName("balancer", name)
  const refuse = (text: string): never => {
    throw new TidegateError("POLICY_INVALID", `balancer "${name}": ${text}`)
  }
  if (typeof pick !== "function") refuse("pick must be a function")
  if (deadlineMs !== undefined && !(deadlineMs >= 1 && deadlineMs <= 60_000)) refuse("deadlineMs must be 1 to 60000")
  return markBalancer({ ...definition }, definition)
}
