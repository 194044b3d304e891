/** etcd: keys below a prefix, each one instance as JSON, by the JSON gateway of etcd v3; a watch tells of changes. */
import { basename } from "node:path"
import { getJson, jsonLines } from "./request.ts"
import type { Source } from "./source.ts"

interface Range {
  readonly header: { readonly revision: string }
  readonly kvs?: readonly { readonly key: string; readonly value: string }[]
}

interface Watched {
  readonly result?: { readonly events?: readonly unknown[]; readonly canceled?: boolean }
  readonly error?: { readonly message?: string }
}

export const etcdSource: Source = async function* ({ source, signal }) {
  const { url, target: prefix } = source
  const range = { key: base64(prefix), range_end: base64(afterAll(prefix)) }
  const read = async (): Promise<Range> => {
    return (await getJson(`${url}/v3/kv/range`, { method: "POST", body: range, signal })).body as Range
  }
  const first = await read()
  yield (first.kvs ?? []).map(toEntry)
  const body = { create_request: { ...range, start_revision: String(BigInt(first.header.revision) + 1n) } }
  for await (const line of jsonLines(`${url}/v3/watch`, { method: "POST", body, signal })) {
    const { result, error } = line as Watched
    if (error !== undefined || result?.canceled === true) throw new Error(error?.message ?? "etcd ended the watch")
    if ((result?.events ?? []).length > 0) yield ((await read()).kvs ?? []).map(toEntry)
  }
  throw new Error("etcd ended the watch")
}

function toEntry({ key, value }: { readonly key: string; readonly value: string }): unknown {
  try {
    const entry: unknown = JSON.parse(Buffer.from(value, "base64").toString("utf8"))
    if (typeof entry === "string") return entry
    return { id: basename(Buffer.from(key, "base64").toString("utf8")), ...(entry as object) }
  } catch {
    return null
  }
}

/** The key behind all that begin with the prefix: its last byte one higher. */
function afterAll(prefix: string): Buffer {
  const bytes = Buffer.from(prefix)
  for (let at = bytes.length - 1; at >= 0; at--) {
    const byte = bytes[at] ?? 0xff
    if (byte === 0xff) continue
    bytes[at] = byte + 1
    return bytes.subarray(0, at + 1)
  }
  return Buffer.from([0])
}

function base64(value: string | Buffer): string {
  return Buffer.from(value).toString("base64")
}
