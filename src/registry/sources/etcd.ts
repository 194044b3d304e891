/** etcd: keys below a prefix, each one instance as JSON. */
import { basename } from "node:path"
import { type EtcdEntry, watchRange } from "../../remote/index.ts"
import type { Source } from "./source.ts"

export const etcdSource: Source = async function* ({ source, signal }) {
  const { url, target: key } = source
  for await (const entries of watchRange({ url, key, isPrefix: true, signal })) yield entries.map(toEntry)
}

function toEntry({ key, value }: EtcdEntry): unknown {
  try {
    const entry: unknown = JSON.parse(value)
    return typeof entry === "string" ? entry : { id: basename(key), ...(entry as object) }
  } catch {
    return null
  }
}
