/**
 * kubernetes: the ready endpoints of a service by its EndpointSlices (discovery.k8s.io/v1),
 * listed and then watched. In a pod, address, token and authority are those of its account.
 */
import { existsSync, readFileSync } from "node:fs"
import { pause } from "./pause.ts"
import { getJson, jsonLines } from "./request.ts"
import type { Source, SourceOptions } from "./source.ts"

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
/** The server ends a watch after that long; then it is listed again. */
const WATCH_S = 300
/** At least between a watch that ended and the next list. */
const LEAST_MS = 200

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

interface List {
  readonly metadata: { readonly resourceVersion: string }
  readonly items: readonly Slice[]
}

interface Change {
  readonly type: string
  readonly object: Slice & { readonly message?: string }
}

export const kubernetesSource: Source = async function* (options) {
  const { service, source, signal } = options
  const { url, ca, headers, namespace } = connection(options)
  const selector = new URLSearchParams({ labelSelector: `kubernetes.io/service-name=${source.target || service}` })
  const path = `${url}/apis/discovery.k8s.io/v1/namespaces/${encodeURIComponent(namespace)}/endpointslices`
  const call = { headers, signal, ...(ca !== null && { ca }) }
  while (!signal.aborted) {
    const list = (await getJson(`${path}?${selector}`, call)).body as List
    const slices = new Map(list.items.map((slice) => [slice.metadata.name, slice]))
    yield toEntries(slices, source.port)
    const since = { watch: "1", resourceVersion: list.metadata.resourceVersion, timeoutSeconds: String(WATCH_S) }
    const query = new URLSearchParams([...selector, ...Object.entries(since)])
    for await (const line of jsonLines(`${path}?${query}`, call)) {
      const { type, object } = line as Change
      // The version is too old, for example: list again.
      if (type === "ERROR") break
      if (type === "DELETED") slices.delete(object.metadata.name)
      else if (type === "ADDED" || type === "MODIFIED") slices.set(object.metadata.name, object)
      else continue
      yield toEntries(slices, source.port)
    }
    await pause(LEAST_MS, signal)
  }
}

/** An endpoint that says nothing about being ready is (the API's own rule). */
function toEntries(slices: ReadonlyMap<string, Slice>, portName: string | null): readonly unknown[] {
  return [...slices.values()].flatMap(({ ports, endpoints }) => {
    const port = (ports ?? []).find(({ name }) => portName === null || name === portName)?.port
    const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false)
    return ready.map(({ addresses, zone, targetRef }) => ({ id: targetRef?.name, host: addresses[0], port, zone }))
  })
}

function connection({ source }: SourceOptions) {
  const own = (name: string): string | null => {
    const file = `${ACCOUNT}/${name}`
    return existsSync(file) ? readFileSync(file, "utf8").trim() : null
  }
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = process.env
  if (source.url === "" && host === undefined) throw new Error("this is no pod; say kubernetes.url")
  const token = source.token ?? own("token")
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` }
  return {
    url: source.url === "" ? `https://${host?.includes(":") ? `[${host}]` : host}:${port}` : source.url,
    ca: own("ca.crt"),
    headers,
    namespace: source.namespace ?? own("namespace") ?? "default",
  }
}
