/** A handler's request as it crossed the boundary, and its reply on the way back. */
import type { HandlerMessage, Reply } from "../model/message.ts"

type Head = Omit<HandlerMessage, "body" | "header" | "text" | "json">

/** The head and body of a reply as native takes them. */
export interface ReplyRecord {
  readonly head: { readonly status: number; readonly headers: readonly (readonly [string, string])[] }
  readonly body: Buffer
}

/** Splits the buffer of `handlerRequest`: u32le length, JSON head, body. Null when the request is gone. */
export function toHandlerMessage(bytes: Buffer): HandlerMessage | null {
  if (bytes.length < 4) return null
  const bodyAt = 4 + bytes.readUInt32LE(0)
  const head = JSON.parse(bytes.toString("utf8", 4, bodyAt)) as Partial<Head>
  const body = bytes.subarray(bodyAt)
  const headers = head.headers ?? []
  return {
    protocol: head.protocol ?? "unknown",
    kind: head.kind ?? "request",
    method: head.method ?? null,
    host: head.host ?? null,
    path: head.path ?? null,
    query: head.query ?? null,
    topic: head.topic ?? null,
    clientId: head.clientId ?? null,
    user: head.user ?? null,
    source: head.source ?? null,
    contentType: head.contentType ?? null,
    qos: head.qos ?? 0,
    retain: head.retain ?? false,
    headers,
    body,
    header: (name) => headers.find(([other]) => other.toLowerCase() === name.toLowerCase())?.[1] ?? null,
    text: () => body.toString("utf8"),
    json: () => JSON.parse(body.toString("utf8")) as unknown,
  }
}

/** Whatever a handler returned as a reply; a wrong status becomes a 500. */
export function toReplyRecord(value: unknown): ReplyRecord {
  if (value === undefined || value === null) return record({ status: 204 })
  if (typeof value === "string") return record({ status: 200, body: value })
  if (typeof value !== "object") return record({ status: 500, body: "the handler returned no reply\n" })
  const isReply = "status" in value || "body" in value || "headers" in value
  return record(isReply ? (value as Reply) : { status: 200, body: value })
}

function record({ status, headers = {}, body }: Reply): ReplyRecord {
  const bytes = toBytes(body)
  const code = status ?? (bytes.length === 0 ? 204 : 200)
  const valid = Number.isInteger(code) && code >= 200 && code <= 599
  const list = Object.entries(headers).map(([name, value]) => [name, String(value)] as const)
  if (isJson(body) && !list.some(([name]) => name.toLowerCase() === "content-type")) {
    list.push(["content-type", "application/json"])
  }
  return { head: { status: valid ? code : 500, headers: list }, body: bytes }
}

function isJson(body: unknown): boolean {
  return typeof body === "object" && body !== null && !(body instanceof Uint8Array)
}

function toBytes(body: Reply["body"]): Buffer {
  if (body === undefined || body === null) return Buffer.alloc(0)
  if (typeof body === "string") return Buffer.from(body, "utf8")
  return body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(JSON.stringify(body), "utf8")
}
