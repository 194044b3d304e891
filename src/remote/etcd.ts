/** A range of keys of etcd, read and then watched, by the JSON gateway of etcd v3. */
import { getJson, jsonLines } from "./request.ts"

export interface EtcdEntry {
  readonly key: string
  readonly value: string
}

export interface EtcdRange {
  readonly url: string
  /** One key, or all that begin with it. */
  readonly key: string
  readonly isPrefix: boolean
  readonly signal: AbortSignal
}

interface Range {
  readonly header: { readonly revision: string }
  readonly kvs?: readonly EtcdEntry[]
}

interface Watched {
  readonly result?: { readonly events?: readonly unknown[]; readonly canceled?: boolean }
  readonly error?: { readonly message?: string }
}

/** The entries, again after each change. Throws when the watch ends. */
export async function* watchRange({ url, key, isPrefix, signal }: EtcdRange): AsyncGenerator<readonly EtcdEntry[]> {
  const range = { key: base64(key), ...(isPrefix && { range_end: base64(afterAll(key)) }) }
  const read = async (): Promise<Range> => {
    return (await getJson(`${url}/v3/kv/range`, { method: "POST", body: range, signal })).body as Range
  }
  const first = await read()
  yield (first.kvs ?? []).map(decode)
  const body = { create_request: { ...range, start_revision: String(BigInt(first.header.revision) + 1n) } }
  for await (const line of jsonLines(`${url}/v3/watch`, { method: "POST", body, signal })) {
    const { result, error } = line as Watched
    if (error !== undefined || result?.canceled === true) throw new Error(error?.message ?? "etcd ended the watch")
    if ((result?.events ?? []).length > 0) yield ((await read()).kvs ?? []).map(decode)
  }
  throw new Error("etcd ended the watch")
}

function decode({ key, value }: EtcdEntry): EtcdEntry {
  const text = (coded: string): string => Buffer.from(coded, "base64").toString("utf8")
  return { key: text(key), value: text(value) }
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
