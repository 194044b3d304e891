/** Host names to addresses: the plan carries addresses only. Several addresses of a name are several endpoints. */
import { lookup } from "node:dns/promises"
import { isIP } from "node:net"
import { formatHostPort } from "../config/index.ts"
import { messageOf } from "../errors.ts"
import type { Endpoint } from "../model/service.ts"

/** An endpoint with an address; `id` stays the configured one. */
export interface ResolvedEndpoint extends Endpoint {
  readonly address: string
}

export interface Resolved {
  readonly endpoints: readonly ResolvedEndpoint[]
  /** Names that did not resolve, with the reason. */
  readonly faults: readonly string[]
}

/** Resolves a name; the standard one asks the operating system. */
export type Lookup = (host: string) => Promise<readonly string[]>

export const systemLookup: Lookup = async (host) => {
  // `localhost` is often two addresses of one server; the first is meant.
  if (host === "localhost") return [(await lookup(host, { family: 4 })).address]
  const found = await lookup(host, { all: true })
  return found.map(({ address }) => address)
}

/** Never throws; what fails is named. */
export async function resolveEndpoints(endpoints: readonly Endpoint[], ask: Lookup = systemLookup): Promise<Resolved> {
  const answers = await Promise.all(endpoints.map((endpoint) => resolveOne(endpoint, ask)))
  return {
    endpoints: answers.flatMap((answer) => (typeof answer === "string" ? [] : answer)),
    faults: answers.filter((answer) => typeof answer === "string"),
  }
}

async function resolveOne(endpoint: Endpoint, ask: Lookup): Promise<readonly ResolvedEndpoint[] | string> {
  const { host, port, id } = endpoint
  if (isIP(host) !== 0) return [{ ...endpoint, address: formatHostPort({ host, port }) }]
  try {
    const addresses = await ask(host)
    return addresses.map((found, index) => ({
      ...endpoint,
      id: index === 0 ? id : `${id}#${index + 1}`,
      address: formatHostPort({ host: found, port }),
    }))
  } catch (error) {
    return `${host} does not resolve: ${messageOf(error)}`
  }
}
