/**
 * The admin API's server: HTTP/1.1 and HTTP/2 on one address, in TLS by ALPN, in the clear by the
 * first bytes (RFC 9113, 3.3: a client that knows begins with the preface).
 */
import { createServer as createHttp1, type Server as Http1Server } from "node:http"
import { createServer as createHttp2, createSecureServer, type SecureServerOptions } from "node:http2"
import type { Socket } from "node:net"
import type { Handler } from "./grpc/index.ts"

/** The start of the connection preface, which no method of HTTP/1.1 has. */
const PREFACE = Buffer.from("PRI")

/** Milliseconds for the first bytes of a connection, and between two requests of one. */
const IDLE_MS = 72_000

const HTTP2 = { settings: { maxConcurrentStreams: 100, enablePush: false }, maxSessionMemory: 8 }

export interface AdminServer {
  readonly server: Http1Server
  /** Ends every connection at once: watchers never end on their own. */
  readonly end: () => void
}

/** `tls` null: in the clear. */
export function createAdminServer(handler: Handler, tls: SecureServerOptions | null): AdminServer {
  const server =
    tls === null ? clearServer(handler) : createSecureServer({ ...HTTP2, ...tls, allowHTTP1: true }, handler)
  const sockets = new Set<Socket>()
  server.on("connection", (socket: Socket) => {
    sockets.add(socket)
    socket.once("close", () => sockets.delete(socket))
  })
  const end = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  // What fastify uses of a server is what all of them have.
  return { server: server as Http1Server, end }
}

function clearServer(handler: Handler): Http1Server {
  const http1 = createHttp1({ keepAliveTimeout: IDLE_MS }, handler)
  const http2 = createHttp2(HTTP2, handler)
  const [serve] = http1.listeners("connection")
  http1.removeAllListeners("connection")
  http1.on("connection", (socket: Socket) => {
    let first: Buffer = Buffer.alloc(0)
    const giveUp = (): void => void socket.destroy()
    const look = (): void => {
      const chunk = socket.read() as Buffer | null
      if (chunk === null) return
      first = first.length === 0 ? chunk : Buffer.concat([first, chunk])
      const length = Math.min(first.length, PREFACE.length)
      const mayBeHttp2 = first.subarray(0, length).equals(PREFACE.subarray(0, length))
      if (mayBeHttp2 && length < PREFACE.length) return
      socket.setTimeout(0).off("timeout", giveUp).off("readable", look).off("error", giveUp)
      socket.unshift(first)
      if (mayBeHttp2) http2.emit("connection", socket)
      else serve?.call(http1, socket)
    }
    socket.setTimeout(IDLE_MS).on("timeout", giveUp).on("error", giveUp).on("readable", look)
  })
  return http1
}
