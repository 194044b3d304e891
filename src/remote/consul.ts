/** Blocking queries of Consul's HTTP API: the answer, then each newer one. */
import { pause } from "./pause.ts"
import { getJson } from "./request.ts"

/** How long Consul may hold a query that has nothing new. */
const WAIT_S = 30
/** At least between two queries, should the server not hold them. */
const LEAST_MS = 100

export interface ConsulQuery {
  readonly url: string
  /** With its own parameters, if any. */
  readonly path: string
  readonly parameters?: Readonly<Record<string, string>>
  readonly token: string | null
  readonly signal: AbortSignal
}

export async function* blockingQuery({
  url,
  path,
  parameters = {},
  token,
  signal,
}: ConsulQuery): AsyncGenerator<unknown> {
  let index = "0"
  while (!signal.aborted) {
    const query = new URLSearchParams({ ...parameters, index, wait: `${WAIT_S}s` })
    const headers: Record<string, string> = token === null ? {} : { "x-consul-token": token }
    const answer = await getJson(`${url}${path}?${query}`, { headers, signal, timeoutMs: (WAIT_S + 15) * 1_000 })
    const next = String(answer.headers["x-consul-index"] ?? "0")
    if (next !== index) yield answer.body
    // An index that went back means that the server began anew.
    index = Number(next) < Number(index) ? "0" : next
    await pause(LEAST_MS, signal)
  }
}
