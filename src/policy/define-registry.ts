/** defineRegistry: a service's instances from wherever a TypeScript function finds them. */
import { TidegateError } from "../errors.ts"
import { checkName, markRegistry } from "./definition.ts"

/** One instance as a registry tells of it. */
export interface RegistryInstance {
  /** Default `host:port`. */
  readonly id?: string
  readonly host: string
  readonly port: number
  /** 0 to 1,000; default 1. */
  readonly weight?: number
  readonly zone?: string
  readonly version?: string
  readonly metadata?: Readonly<Record<string, string>>
}

/** The declaration of a registry; services name it: `services: { api: inventory }`, in YAML `{ registry: inventory }`. */
export interface RegistryDefinition {
  readonly name: string
  /**
   * Yields all instances of a service whenever they changed, until the signal aborts.
   * When it throws or ends, what it yielded last stays, marked stale, and it is called again.
   */
  readonly watch: (service: string, signal: AbortSignal) => AsyncIterable<readonly RegistryInstance[]>
}

/** Declares a registry. Throws POLICY_INVALID when a field is wrong. */
export function defineRegistry(definition: RegistryDefinition): RegistryDefinition {
  checkName("registry", definition.name)
  if (typeof definition.watch !== "function") {
    throw new TidegateError("POLICY_INVALID", `registry "${definition.name}": watch must be a function`)
  }
  return markRegistry({ ...definition }, definition)
}
