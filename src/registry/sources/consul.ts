/** consul: the passing instances of a service by blocking queries of Consul's HTTP API. */
import { pause } from "./pause.ts"
import { getJson } from "./request.ts"
import type { Source } from "./source.ts"

/** How long Consul may hold a query that has nothing new. */
const WAIT_S = 30
/** At least between two queries, should the server not hold them. */
const LEAST_MS = 100

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
  const { url, token } = source
  let index = "0"
  while (!signal.aborted) {
    const query = new URLSearchParams({ passing: "1", index, wait: `${WAIT_S}s` })
    if (source.tag !== null) query.set("tag", source.tag)
    const path = `/v1/health/service/${encodeURIComponent(source.target || service)}?${query}`
    const headers: Record<string, string> = token === null ? {} : { "x-consul-token": token }
    const answer = await getJson(`${url}${path}`, { headers, signal, timeoutMs: (WAIT_S + 15) * 1_000 })
    const next = String(answer.headers["x-consul-index"] ?? "0")
    if (next !== index) yield (answer.body as readonly Entry[]).map(toEntry)
    // An index that went back means that the server began anew.
    index = Number(next) < Number(index) ? "0" : next
    await pause(LEAST_MS, signal)
  }
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
