/** Server-sent events: a named JSON event at a time, bounded by what the reader takes. */
import type { FastifyReply, FastifyRequest } from "fastify"

/** A reader that is this far behind is cut off. */
const MAX_BEHIND = 1_048_576
const HEARTBEAT_MS = 15_000

export interface EventStream {
  send(event: string, data: unknown): void
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
  const write = (text: string): void => {
    if (raw.writableLength > MAX_BEHIND) raw.destroy()
    else raw.write(text)
  }
  const heartbeat = setInterval(() => write(": \n\n"), HEARTBEAT_MS)
  const stop = start({ send: (event, data) => write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`) })
  request.raw.once("close", () => {
    clearInterval(heartbeat)
    stop()
  })
}
