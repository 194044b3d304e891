/** http: a URL that answers a list of instances, or `{ items }` as our own admin API does; asked again, by its ETag. */
import { getJson, pause } from "../../remote/index.ts"
import type { Source } from "./source.ts"

export const httpSource: Source = async function* ({ source, signal }) {
  let etag: string | null = null
  while (!signal.aborted) {
    const headers: Record<string, string> = etag === null ? {} : { "if-none-match": etag }
    const answer = await getJson(source.target, { headers, signal })
    if (answer.status !== 304) {
      etag = typeof answer.headers.etag === "string" ? answer.headers.etag : null
      yield toList(answer.body)
    }
    await pause(source.intervalMs, signal)
  }
}

function toList(body: unknown): readonly unknown[] {
  const list = body !== null && typeof body === "object" && "items" in body ? body.items : body
  if (!Array.isArray(list)) throw new Error("the answer is neither a list nor { items }")
  return list
}
