/** consul: the passing instances of a service. */
import { blockingQuery } from "../../remote/index.ts"
import type { Source } from "./source.ts"

interface Entry {
  readonly Node?: { readonly Address?: string; readonly Datacenter?: string }
  readonly Service?: {
    readonly ID?: string
    readonly Address?: string
    readonly Port?: number
    readonly Weights?: { readonly Passing?: number }
    readonly Meta?: Readonly<Record<string, string>>
  }
}

export const consulSource: Source = async function* ({ service, source, signal }) {
  const { url, token, tag } = source
  const path = `/v1/health/service/${encodeURIComponent(source.target || service)}`
  const parameters = { passing: "1", ...(tag !== null && { tag }) }
  for await (const body of blockingQuery({ url, path, parameters, token, signal }))
    yield (body as readonly Entry[]).map(toEntry)
}

function toEntry({ Node, Service }: Entry): unknown {
  const { ID, Address, Port, Weights, Meta } = Service ?? {}
  return {
    id: ID,
    host: Address || Node?.Address,
    port: Port,
    weight: Math.min(1_000, Weights?.Passing ?? 1),
    zone: Meta?.zone ?? Node?.Datacenter,
    version: Meta?.version,
    metadata: Meta,
  }
}
