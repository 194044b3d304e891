/**
 * Objects of the Kubernetes API, listed and then watched. In a pod, address, token and
 * authority are those of its account.
 */
import { existsSync, readFileSync } from "node:fs"
import { pause } from "./pause.ts"
import { getJson, jsonLines } from "./request.ts"

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
/** The server ends a watch after that long; then it is listed again. */
const WATCH_S = 300
/** At least between a watch that ended and the next list. */
const LEAST_MS = 200

export interface KubernetesServer {
  /** Empty: the pod's. */
  readonly url: string
  readonly token: string | null
  /** Null: the pod's, else `default`. */
  readonly namespace: string | null
  readonly signal: AbortSignal
}

/** Which objects; the namespace stands between both parts of the path. */
export interface KubernetesObjects {
  /** `/api/v1` or `/apis/GROUP/VERSION`. */
  readonly group: string
  readonly kind: string
  readonly selector: Readonly<Record<string, string>>
}

interface Named {
  readonly metadata: { readonly name: string }
}

interface List<T> {
  readonly metadata: { readonly resourceVersion: string }
  readonly items: readonly T[]
}

interface Change<T> {
  readonly type: string
  readonly object: T
}

/** The objects by name, again after each change; ends with the signal. */
export async function* watchObjects<T extends Named>(
  server: KubernetesServer,
  { group, kind, selector }: KubernetesObjects,
): AsyncGenerator<readonly T[]> {
  const { url, ca, headers, namespace } = connection(server)
  const { signal } = server
  const path = `${url}${group}/namespaces/${encodeURIComponent(namespace)}/${kind}`
  const call = { headers, signal, ...(ca !== null && { ca }) }
  while (!signal.aborted) {
    const list = (await getJson(`${path}?${new URLSearchParams(selector)}`, call)).body as List<T>
    const objects = new Map(list.items.map((object) => [object.metadata.name, object]))
    yield [...objects.values()]
    const since = { watch: "1", resourceVersion: list.metadata.resourceVersion, timeoutSeconds: String(WATCH_S) }
    for await (const line of jsonLines(`${path}?${new URLSearchParams({ ...selector, ...since })}`, call)) {
      const { type, object } = line as Change<T>
      // The version is too old, for example: list again.
      if (type === "ERROR") break
      if (type === "DELETED") objects.delete(object.metadata.name)
      else if (type === "ADDED" || type === "MODIFIED") objects.set(object.metadata.name, object)
      else continue
      yield [...objects.values()]
    }
    await pause(LEAST_MS, signal)
  }
}

function connection(server: KubernetesServer) {
  const own = (name: string): string | null => {
    const file = `${ACCOUNT}/${name}`
    return existsSync(file) ? readFileSync(file, "utf8").trim() : null
  }
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = "443" } = process.env
  if (server.url === "" && host === undefined) throw new Error("this is no pod; say kubernetes.url")
  const token = server.token ?? own("token")
  const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` }
  return {
    url: server.url === "" ? `https://${host?.includes(":") ? `[${host}]` : host}:${port}` : server.url,
    ca: own("ca.crt"),
    headers,
    namespace: server.namespace ?? own("namespace") ?? "default",
  }
}
