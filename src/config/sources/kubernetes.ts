/** kubernetes: one key of a ConfigMap, watched. */
import { watchObjects } from "../../remote/index.ts"
import type { ConfigSource } from "./source.ts"

interface ConfigMap {
  readonly metadata: { readonly name: string }
  readonly data?: Readonly<Record<string, string>>
}

export const kubernetesSource: ConfigSource = async function* ({ source, signal }) {
  const selector = { fieldSelector: `metadata.name=${source.configMap}` }
  const objects = { group: "/api/v1", kind: "configmaps", selector }
  for await (const [map] of watchObjects<ConfigMap>({ ...source, signal }, objects))
    yield map?.data?.[source.key] ?? null
}
