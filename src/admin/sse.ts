/** Server-sent events: a named JSON event at a time, bounded by what the reader takes. */
import type { Writable } from "node:stream"
import type { FastifyReply, FastifyRequest } from "fastify"

/** A reader that is this far behind is cut off. */
const MAX_BEHIND = 1_048_576
const HEARTBEAT_MS = 15_000

export interface EventStream {
  send(event: string, data: unknown): void
  /** JSON that replaces what was sent before: a reader that is behind gets the newest and none of those between. */
  sendNewest(event: string, json: string): void
}

/** Takes the answer over; `stop` runs once when the reader is gone. */
export function openEventStream(
  request: FastifyRequest,
  reply: FastifyReply,
  start: (stream: EventStream) => () => void,
): void {
  reply.hijack()
  const { raw } = reply
  raw.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" })
  // Of HTTP/2 it is the stream that knows what waits.
  const sink: Writable = "stream" in raw ? (raw.stream as Writable) : raw
  const write = (text: string): void => {
    if (sink.writableLength > MAX_BEHIND) raw.destroy()
    else raw.write(text)
  }
  let newest: string | null = null
  sink.on("drain", () => {
    if (newest !== null) write(newest)
    newest = null
  })
  const heartbeat = setInterval(() => write(": \n\n"), HEARTBEAT_MS)
  const stop = start({
    send: (event, data) => write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`),
    sendNewest: (event, json) => {
      const text = `event: ${event}\ndata: ${json}\n\n`
      if (sink.writableNeedDrain) newest = text
      else write(text)
    },
  })
  // Who asks waits for the head before doing what there will be events of.
  raw.flushHeaders()
  request.raw.once("close", () => {
    clearInterval(heartbeat)
    stop()
  })
}
