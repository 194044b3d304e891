/** How a check speaks to an endpoint: in TLS as the gateway does, and HTTP/2 where it does. */
import { readFileSync } from "node:fs"
import { type ClientHttp2Session, connect } from "node:http2"
import { isIP } from "node:net"
import type { ConnectionOptions } from "node:tls"
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
