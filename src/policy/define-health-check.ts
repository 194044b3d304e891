/** defineHealthCheck: a TypeScript function that says whether an endpoint is well. */
import { TidegateError } from "../errors.ts"
import { checkName, markHealthCheck } from "./definition.ts"

/** What is asked about, and how long there is for it. */
export interface CheckedEndpoint {
  readonly id: string
  readonly host: string
  readonly port: number
  /** Aborted after the check's `timeoutMs`: it has failed then. */
  readonly signal: AbortSignal
}

/** The declaration of a check; upstreams name it: `health: { custom: disk }`, in YAML by its name. */
export interface HealthCheckDefinition {
  readonly name: string
  /** Healthy: `true`. An exception counts as `false`. */
  readonly check: (endpoint: CheckedEndpoint) => boolean | Promise<boolean>
}

/** Declares a check. Throws POLICY_INVALID when a field is wrong. */
export function defineHealthCheck(definition: HealthCheckDefinition): HealthCheckDefinition {
  checkName("health check", definition.name)
  if (typeof definition.check !== "function") {
    throw new TidegateError("POLICY_INVALID", `health check "${definition.name}": check must be a function`)
  }
  return markHealthCheck({ ...definition }, definition)
}
