/**
 * Who may call the admin API: the Host header must name this machine (against DNS
 * rebinding), a foreign Origin is refused (against forged requests from a browser),
 * and where a token is set every call but health needs it.
 */
import { createHash, timingSafeEqual } from "node:crypto"
import { isIP } from "node:net"
import type { FastifyReply, FastifyRequest } from "fastify"
import type { NormalizedAdmin } from "../config/index.ts"
import { sendProblem } from "./problem.ts"

/** Answered without a token: a load balancer has none, and the dashboard asks for one. */
const OPEN = new Set(["/health", "/ready", "/", "/dashboard/main.js", "/dashboard/main.css"])

export type Guard = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined>

export function createGuard(admin: Pick<NormalizedAdmin, "host" | "token" | "hosts">): Guard {
  const hosts = new Set(["localhost", admin.host.toLowerCase(), ...admin.hosts.map((host) => host.toLowerCase())])
  return async (request, reply) => {
    const host = hostOf(request.headers.host)
    if (host === null || !isKnown(host, hosts))
      return sendProblem(reply, 421, `Host "${request.headers.host ?? ""}" is not served here`)
    if (!isOwnOrigin(request.headers.origin, request.headers.host))
      return sendProblem(reply, 403, "a foreign Origin may not call the admin API")
    if (request.headers["sec-fetch-site"] === "cross-site")
      return sendProblem(reply, 403, "a foreign site may not call the admin API")
    if (admin.token === null || OPEN.has(request.url)) return undefined
    if (isToken(request.headers.authorization, admin.token)) return undefined
    reply.header("www-authenticate", 'Bearer realm="tidegate"')
    return sendProblem(reply, 401, "a bearer token is needed")
  }
}

/** The name in a Host header, without port and brackets; null when it is none. */
function hostOf(header: string | undefined): string | null {
  const [, bracketed, plain] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:/@\s]+))(?::\d+)?$/.exec(header ?? "") ?? []
  return (bracketed ?? plain)?.toLowerCase() ?? null
}

/** An address cannot be rebound by DNS, so any address is as good as the one it is bound to. */
function isKnown(host: string, hosts: ReadonlySet<string>): boolean {
  return hosts.has(host) || isIP(host) !== 0
}

function isOwnOrigin(origin: string | undefined, host: string | undefined): boolean {
  return origin === undefined || origin === `http://${host}` || origin === `https://${host}`
}

function isToken(header: string | undefined, token: string): boolean {
  const given = /^Bearer (.+)$/i.exec(header ?? "")?.[1] ?? ""
  // Equal lengths for the comparison, whatever was given.
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest()
  return timingSafeEqual(hash(given), hash(token))
}
