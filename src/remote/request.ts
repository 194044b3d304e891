/** HTTP to the servers of registries: whole answers and streams of lines, with their own certificate authority. */
import { type IncomingMessage, request as plain } from "node:http"
import { request as secure } from "node:https"
import { createInterface } from "node:readline"

export interface Call {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
  readonly signal: AbortSignal
  /** PEM; default the system's. */
  readonly ca?: string
  /** For the head of the answer; default 10 s. */
  readonly timeoutMs?: number
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: unknown
}

/** Longest answer that is read, bytes. */
const MAX_BODY = 16 * 1024 * 1024

/** The answer with its JSON; throws for what is neither 2xx nor 304. */
export async function getJson(url: string, call: Call): Promise<Answer> {
  const response = await open(url, call)
  const status = response.statusCode ?? 0
  const text = await collect(response)
  if (status === 304) return { status, headers: response.headers, body: null }
  if (status < 200 || status > 299) throw new Error(`${new URL(url).origin} answered ${status}: ${text.slice(0, 200)}`)
  return { status, headers: response.headers, body: JSON.parse(text) as unknown }
}

/** Each line of a stream as JSON, until it ends. */
export async function* jsonLines(url: string, call: Call): AsyncGenerator<unknown> {
  const response = await open(url, call)
  const status = response.statusCode ?? 0
  if (status !== 200)
    throw new Error(`${new URL(url).origin} answered ${status}: ${(await collect(response)).slice(0, 200)}`)
  const lines = createInterface({ input: response })
  // It passes on what breaks its input, also to nobody.
  lines.on("error", () => undefined)
  for await (const line of lines) {
    if (line !== "") yield JSON.parse(line) as unknown
  }
}

function open(
  url: string,
  { method = "GET", headers, body, signal, ca, timeoutMs = 10_000 }: Call,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const start = url.startsWith("https:") ? secure : plain
    const json = body === undefined ? undefined : JSON.stringify(body)
    const own = { accept: "application/json", ...(json !== undefined && { "content-type": "application/json" }) }
    const call = start(url, { method, headers: { ...own, ...headers }, signal, agent: false, ...(ca && { ca }) })
    const timer = setTimeout(() => call.destroy(new Error(`${new URL(url).origin} does not answer`)), timeoutMs)
    call.on("response", (response) => {
      clearTimeout(timer)
      resolve(response)
    })
    call.on("error", (error) => {
      clearTimeout(timer)
      reject(error)
    })
    call.end(json)
  })
}

async function collect(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = []
  let length = 0
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.length
    if (length > MAX_BODY) throw new Error(`an answer of more than ${MAX_BODY} bytes`)
    parts.push(part)
  }
  return Buffer.concat(parts).toString("utf8")
}
