/** How a check speaks to an endpoint: in TLS as the gateway does, HTTP/2 and the PROXY protocol where it does. */
import { readFileSync } from "node:fs"
import { type ClientHttp2Session, connect } from "node:http2"
import { connect as connectTcp, isIP, type Socket } from "node:net"
import { type ConnectionOptions, connect as connectTls } from "node:tls"
import type { NormalizedHealth } from "../config/index.ts"
import type { Endpoint } from "../model/service.ts"

/** Options of a TLS connection; null: in the clear. Files are read each time, so that a changed one counts. */
export function tlsOptions({ tls }: NormalizedHealth, host: string): ConnectionOptions | null {
  if (tls === null) return null
  const { ca, certificate, verify, minVersion } = tls
  const servername = tls.serverName ?? host
  return {
    ...(ca.length > 0 && { ca: ca.map((file) => readFileSync(file)) }),
    ...(certificate !== null && { cert: readFileSync(certificate.cert), key: readFileSync(certificate.key) }),
    ...(isIP(servername) === 0 && { servername }),
    rejectUnauthorized: verify,
    minVersion: `TLSv${minVersion}`,
  }
}

/** An HTTP/2 connection to an endpoint; its errors are told by its streams. */
export function connectHttp2({ host, port }: Endpoint, health: NormalizedHealth): ClientHttp2Session {
  const name = host.includes(":") ? `[${host}]` : host
  const tls = tlsOptions(health, host)
  const session = connect(`${tls === null ? "http" : "https"}://${name}:${port}`, tls ?? {})
  session.on("error", () => {})
  return session
}

/** What an endpoint that expects the PROXY protocol hears first of a connection of our own; null: nothing. */
export function proxyHeader({ proxyProtocol }: NormalizedHealth): Buffer | null {
  if (proxyProtocol === null) return null
  if (proxyProtocol === "v1") return Buffer.from("PROXY UNKNOWN\r\n")
  // LOCAL, no addresses (proxy-protocol.txt, section 2.2).
  return Buffer.from("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", "latin1")
}

/** A connection to an endpoint: the PROXY header, then TLS where it is asked for. */
export function open({ host, port }: Endpoint, health: NormalizedHealth): Socket {
  const socket = connectTcp({ host, port })
  const header = proxyHeader(health)
  if (header !== null) socket.write(header)
  const tls = tlsOptions(health, host)
  if (tls === null) return socket
  const secured = connectTls({ socket, ...tls })
  socket.on("error", (error) => secured.destroy(error))
  return secured
}
