/** nats: one key of a bucket of NATS' key-value store, watched. */
import { openBucket } from "../../remote/index.ts"
import type { ConfigSource } from "./source.ts"

export const natsSource: ConfigSource = async function* ({ source, signal }) {
  const { kv, close } = await openBucket({ ...source, servers: source.url }, "configSource.nats")
  const watch = await kv.watch({ key: source.key })
  const ended = (): void => watch.stop()
  signal.addEventListener("abort", ended)
  try {
    if ((await kv.get(source.key)) === null) yield null
    for await (const { operation, value } of watch)
      yield operation === "PUT" ? Buffer.from(value).toString("utf8") : null
    if (!signal.aborted) throw new Error("NATS ended the watch")
  } finally {
    signal.removeEventListener("abort", ended)
    await close()
  }
}
