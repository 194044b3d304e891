/**
 * The configuration as a typed value, for `defineConfig`. `to:` and `mirror:` complete and
 * check against the keys of `upstreams`, so a mistyped one is red in the editor.
 */

import type { Match } from "../model/match.ts"
import type {
  BalancerDefinition,
  HandlerDefinition,
  HealthCheckDefinition,
  Policy,
  PolicyUse,
  RegistryDefinition,
} from "../policy/index.ts"
import type { ConfigData, RouteData, UpstreamData } from "./schema/index.ts"

type StrategyUse = Readonly<Record<string, object>>
type TargetObject = Exclude<RouteData["to"], string | readonly unknown[]>

type HealthInput = Omit<NonNullable<UpstreamData["health"]>, "custom"> & {
  readonly custom?: string | HealthCheckDefinition
}

export type UpstreamInput = Omit<UpstreamData, "balance" | "health"> & {
  readonly balance?: UpstreamData["balance"] | StrategyUse | BalancerDefinition
  readonly health?: HealthInput
}

export type TargetInput<U extends string> =
  | U
  | readonly { readonly upstream: U; readonly weight?: number }[]
  | Omit<TargetObject, "upstream">
  | HandlerDefinition

export interface RouteInput<U extends string> extends Omit<RouteData, "when" | "to" | "mirror" | "use"> {
  readonly when: Match
  readonly to: TargetInput<U>
  readonly mirror?: U
  readonly use?: readonly (string | PolicyUse | Policy<never> | object)[]
}

type ServiceInput = NonNullable<ConfigData["services"]>[string] | RegistryDefinition

type BrokerData = NonNullable<ConfigData["broker"]>

/** Hooks take policies as routes do. */
type BrokerInput = Omit<BrokerData, "hooks"> & {
  readonly hooks?: {
    readonly [hook in keyof NonNullable<BrokerData["hooks"]>]?: readonly (string | PolicyUse | Policy<never> | object)[]
  }
}

/** What a configuration file exports. */
export interface ConfigInput<U extends string = string>
  extends Omit<ConfigData, "services" | "upstreams" | "routes" | "policies" | "handlers" | "broker"> {
  readonly broker?: BrokerInput
  readonly upstreams?: Readonly<Record<U, UpstreamInput>>
  readonly services?: Readonly<Record<string, ServiceInput>>
  readonly routes?: readonly RouteInput<NoInfer<U>>[]
  readonly policies?: readonly (string | Policy<never> | object)[]
  readonly handlers?: readonly (string | HandlerDefinition)[]
}
