/**
 * One change: endpoints are looked up, the plan is compiled, policies
 * made ready, native swaps, and only then the change counts. A failed one leaves
 * everything as it was.
 */
import type { LoadedConfig, NormalizedUpstream } from "../config/index.ts"
import { TidegateError } from "../errors.ts"
import type { Endpoint } from "../model/service.ts"
import { type Applied, type NativeGateway, type Plan, toTidegateError } from "../native/index.ts"
import type { Optimizer } from "../optimizer/index.ts"
import { compile, programData, type UpstreamEndpoints } from "../plan/index.ts"
import { type Lookup, type ResolvedEndpoint, resolveEndpoints, systemLookup } from "../registry/index.ts"
import { inTurns, jsonTurns } from "../turns.ts"
import type { Accounts } from "./accounts.ts"
import type { PolicyHost } from "./policy-host.ts"
import { stampOf, tlsFiles } from "./tls-files.ts"

/** Where endpoints and their health come from. */
export interface EndpointSource {
  /** The endpoints of an upstream at this moment. */
  endpoints(upstream: NormalizedUpstream): readonly Endpoint[]
  /** 0 to 1, what checks and load leave of an endpoint. */
  health(upstream: NormalizedUpstream, endpoint: Endpoint): number
}

export interface AppliedPlan {
  readonly plan: Plan
  readonly applied: Applied
}

export interface ApplierOptions {
  readonly native: NativeGateway
  readonly host: PolicyHost
  readonly source: EndpointSource
  readonly lookup?: Lookup
  readonly accounts: Accounts
  readonly optimizer: Pick<Optimizer, "into" | "stamp">
}

export class Applier {
  readonly #options: ApplierOptions
  #version = 0
  #shape = ""
  #files = ""

  constructor(options: ApplierOptions) {
    this.#options = options
  }

  /** One at a time: the gateway queues its changes. */
  async apply(loaded: LoadedConfig): Promise<AppliedPlan> {
    return this.#apply(loaded, await this.#endpoints(loaded))
  }

  /** The same configuration again, if its endpoints or the files it names are others by now; else null. */
  async refresh(loaded: LoadedConfig): Promise<AppliedPlan | null> {
    const endpoints = await this.#endpoints(loaded)
    const files = await this.#stamp(loaded)
    if (shapeOf(endpoints) === this.#shape && files === this.#files) return null
    // A pair that does not fit is complained about once, not at every look.
    this.#files = files
    return this.#apply(loaded, endpoints)
  }

  async #apply(loaded: LoadedConfig, endpoints: Map<string, UpstreamEndpoints>): Promise<AppliedPlan> {
    const files = await this.#stamp(loaded)
    const { native, host, accounts, optimizer } = this.#options
    const config = optimizer.into(accounts.into(loaded.config))
    const { functions } = loaded
    const version = this.#version + 1
    const plan = await inTurns(compile({ version, config, functions, endpoints }))
    const prepared = await host.prepare(await inTurns(programData(plan, config, functions)), functions)
    try {
      const applied = JSON.parse(await native.applyPlan(await inTurns(jsonTurns(plan)))) as Applied
      prepared.commit()
      this.#version = version
      this.#shape = shapeOf(endpoints)
      this.#files = files
      return { plan: withProblems(plan, applied), applied }
    } catch (error) {
      await prepared.rollback()
      throw toTidegateError(error)
    }
  }

  /** What tells one state of the files, users and limits beside a configuration from the next. */
  async #stamp({ config }: LoadedConfig): Promise<string> {
    const { accounts, optimizer } = this.#options
    return [accounts.stamp(config), optimizer.stamp(), await stampOf(tlsFiles(config))].join("\n")
  }

  async #endpoints({ config }: LoadedConfig): Promise<Map<string, UpstreamEndpoints>> {
    const found = await Promise.all(
      config.upstreams.map(async (upstream) => [upstream.name, await this.#endpointsOf(upstream)] as const),
    )
    return new Map(found)
  }

  async #endpointsOf(upstream: NormalizedUpstream): Promise<UpstreamEndpoints> {
    const { source, lookup = systemLookup } = this.#options
    const { endpoints, faults } = await resolveEndpoints(source.endpoints(upstream), lookup)
    const toPlan = (endpoint: ResolvedEndpoint) => ({
      id: endpoint.id,
      address: endpoint.address,
      host: endpoint.host,
      weight: Math.max(1, endpoint.weight),
      // A weight of 0 is not a small share, it is none.
      health: endpoint.weight === 0 ? 0 : source.health(upstream, endpoint),
      draining: endpoint.draining,
      near: upstream.preferZone === null || endpoint.zone === upstream.preferZone,
    })
    return { endpoints: endpoints.map(toPlan), problem: faults.length === 0 ? null : faults.join("; ") }
  }
}

/** The plan with what native could not compile: such a part is broken, and says why. */
function withProblems(plan: Plan, { problems }: Applied): Plan {
  const found = new Map(problems.map(({ path, message }) => [path, message]))
  if (found.size === 0) return plan
  return {
    ...plan,
    routes: plan.routes.map((route, index) => ({
      ...route,
      problem: route.problem ?? found.get(`routes.${index}`) ?? null,
    })),
    upstreams: plan.upstreams.map((upstream) => ({
      ...upstream,
      problem: upstream.problem ?? found.get(`upstreams.${upstream.name}`) ?? null,
    })),
  }
}

/** What of the endpoints only another plan can change; health and draining are weights. */
function shapeOf(endpoints: ReadonlyMap<string, UpstreamEndpoints>): string {
  const rows = [...endpoints].map(([name, { endpoints: list, problem }]) => {
    return [name, problem, list.map(({ id, address, weight, near }) => [id, address, weight, near])]
  })
  return JSON.stringify(rows)
}

/** The error for a call that comes too early or too late. */
export function wrongState(call: string, state: string): TidegateError {
  return new TidegateError("GATEWAY_STATE", `${call}() does not fit a gateway that is ${state}`)
}
