/** kubernetes: the ready endpoints of a service by its EndpointSlices (discovery.k8s.io/v1). */
import { watchObjects } from "../../remote/index.ts"
import type { Source } from "./source.ts"

interface Slice {
  readonly metadata: { readonly name: string }
  readonly ports?: readonly { readonly name?: string; readonly port?: number }[] | null
  readonly endpoints?:
    | readonly {
        readonly addresses: readonly string[]
        readonly conditions?: { readonly ready?: boolean | null }
        readonly zone?: string
        readonly targetRef?: { readonly name?: string }
      }[]
    | null
}

export const kubernetesSource: Source = async function* ({ service, source, signal }) {
  const selector = { labelSelector: `kubernetes.io/service-name=${source.target || service}` }
  const objects = { group: "/apis/discovery.k8s.io/v1", kind: "endpointslices", selector }
  for await (const slices of watchObjects<Slice>({ ...source, signal }, objects)) yield toEntries(slices, source.port)
}

/** An endpoint that says nothing about being ready is (the API's own rule). */
function toEntries(slices: readonly Slice[], portName: string | null): readonly unknown[] {
  return slices.flatMap(({ ports, endpoints }) => {
    const port = (ports ?? []).find(({ name }) => portName === null || name === portName)?.port
    const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false)
    return ready.map(({ addresses, zone, targetRef }) => ({ id: targetRef?.name, host: addresses[0], port, zone }))
  })
}
