/** consul: one key of Consul's key-value store, by blocking queries. */
import { blockingQuery } from "../../remote/index.ts"
import type { ConfigSource } from "./source.ts"

export const consulSource: ConfigSource = async function* ({ source: { url, key, token }, signal }) {
  const path = `/v1/kv/${key.split("/").map(encodeURIComponent).join("/")}`
  for await (const body of blockingQuery({ url, path, token, signal })) {
    const [entry] = body as readonly { readonly Value: string | null }[]
    yield entry?.Value == null ? null : Buffer.from(entry.Value, "base64").toString("utf8")
  }
}
