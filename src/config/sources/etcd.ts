/** etcd: one key, watched. */
import { watchRange } from "../../remote/index.ts"
import type { ConfigSource } from "./source.ts"

export const etcdSource: ConfigSource = async function* ({ source: { url, key }, signal }) {
  for await (const [entry] of watchRange({ url, key, isPrefix: false, signal })) yield entry?.value ?? null
}
