/** nats: one key an instance in a bucket of NATS' key-value store, watched. */
import { openBucket } from "../../remote/index.ts"
import type { OpenPeer, PeerEntry } from "./peer.ts"

export const openNatsPeer: OpenPeer = async (registry, signal) => {
  const { kv, close } = await openBucket({ ...registry, servers: registry.url }, "registry.nats")
  const watch = await kv.watch({ include: "updates" })
  signal.addEventListener("abort", () => watch.stop(), { once: true })
  const keyOf = ({ key }: { readonly key: string }): string => Buffer.from(key).toString("base64url")
  const all = async (): Promise<PeerEntry[]> => {
    const entries: PeerEntry[] = []
    for await (const key of await kv.keys()) {
      const found = await kv.get(key)
      if (found !== null && found.operation === "PUT") entries.push(JSON.parse(found.string()) as PeerEntry)
    }
    return entries
  }
  return {
    all,
    async write(entries) {
      for (const entry of entries) {
        const before = await kv.get(keyOf(entry))
        const known = before?.operation === "PUT" ? (JSON.parse(before.string()) as PeerEntry).at : 0
        if (known < entry.at) await kv.put(keyOf(entry), JSON.stringify(entry))
      }
    },
    async *changes() {
      for await (const { operation, value } of watch)
        if (operation === "PUT") yield [JSON.parse(Buffer.from(value).toString("utf8")) as PeerEntry]
      if (!signal.aborted) throw new Error("NATS ended the watch")
    },
    async forget(before) {
      for (const entry of await all()) if (entry.document === null && entry.at < before) await kv.purge(keyOf(entry))
    },
    close,
  }
}
