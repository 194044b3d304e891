/** Consul and Kubernetes: small servers of the parts of their HTTP APIs that are used, written from their documentation. */
import type { ServerResponse } from "node:http"
import { Web } from "./servers.ts"

/** A server whose content the test changes. */
export interface SmallServer {
  readonly url: string
  /** What it has is another now: whoever waits for that is told. */
  changed(): void
  fail(): Promise<void>
  mend(): Promise<void>
  close(): Promise<void>
}

/** One address of Consul with blocking queries, for the token `secret`; `isAsked` says which address. */
export async function consul(isAsked: (url: URL) => boolean, content: () => unknown): Promise<SmallServer> {
  let index = 1
  const waiting = new Set<() => void>()
  const answer = (response: ServerResponse): void => {
    response.writeHead(200, { "x-consul-index": String(index), "content-type": "application/json" })
    response.end(JSON.stringify(content()))
  }
  const web = await Web.open((request, response) => {
    const url = new URL(request.url ?? "", "http://consul")
    if (!isAsked(url) || request.headers["x-consul-token"] !== "secret") return response.writeHead(403).end()
    if (url.searchParams.get("index") !== String(index)) return answer(response)
    const tell = (): void => answer(response)
    waiting.add(tell)
    response.on("close", () => waiting.delete(tell))
    return undefined
  })
  const changed = (): void => {
    index++
    for (const tell of [...waiting]) tell()
    waiting.clear()
  }
  return small(web, changed)
}

/** One object of Kubernetes that is listed and watched, for the token `secret`; `isAsked` says by which list. */
export async function kubernetes(isAsked: (url: URL) => boolean, content: () => object): Promise<SmallServer> {
  let version = 1
  const watchers = new Set<ServerResponse>()
  const metadata = () => ({ resourceVersion: String(version) })
  const object = () => ({ ...content(), metadata: { name: "one", ...metadata() } })
  const tell = (watcher: ServerResponse): void => {
    watcher.write(`${JSON.stringify({ type: "MODIFIED", object: object() })}\n`)
  }
  const web = await Web.open((request, response) => {
    const url = new URL(request.url ?? "", "http://kubernetes")
    if (!isAsked(url) || request.headers.authorization !== "Bearer secret") return response.writeHead(403).end()
    response.writeHead(200, { "content-type": "application/json" })
    if (url.searchParams.get("watch") !== "1")
      return response.end(JSON.stringify({ metadata: metadata(), items: [object()] }))
    response.flushHeaders()
    // What is newer than the list is told at once.
    if (url.searchParams.get("resourceVersion") !== String(version)) tell(response)
    watchers.add(response)
    response.on("close", () => watchers.delete(response))
    return undefined
  })
  const changed = (): void => {
    version++
    for (const watcher of watchers) tell(watcher)
  }
  return small(web, changed)
}

function small(web: Web, changed: () => void): SmallServer {
  return { url: web.url, changed, fail: () => web.fail(), mend: () => web.mend(), close: () => web.fail() }
}
