/** Addresses: `tcp://HOST:PORT` of listeners and `HOST:PORT` of everything else; IPv6 in brackets. */
import { isIP } from "node:net"

export interface HostPort {
  /** Without brackets. */
  readonly host: string
  readonly port: number
}

export interface ListenerAddress extends HostPort {
  readonly transport: "tcp" | "udp"
}

/** `HOST:PORT`; null when it is none. Port 0 only where the caller allows it. */
export function parseHostPort(text: string): HostPort | null {
  const [, bracketed, plain, digits = ""] = /^(?:\[([^\]]+)\]|([^:[\]/\s]+)):(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain
  const port = Number(digits)
  if (host === undefined || digits === "" || port > 65_535) return null
  return bracketed !== undefined && isIP(bracketed) !== 6 ? null : { host, port }
}

/** `tcp://HOST:PORT` or `udp://HOST:PORT`, localhost as 127.0.0.1; null when it is none. */
export function parseListener(text: string): ListenerAddress | null {
  const [, transport, rest = ""] = /^(tcp|udp):\/\/(.+)$/.exec(text) ?? []
  const address = parseHostPort(rest)
  if (address === null) return null
  const host = address.host === "localhost" ? "127.0.0.1" : address.host
  return { transport: transport === "udp" ? "udp" : "tcp", host, port: address.port }
}

/** `host:port`, IPv6 in brackets. */
export function formatHostPort({ host, port }: HostPort): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`
}

/** Whether only this machine can reach it. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."))
}
