/**
 * Who may call the admin API: the Host header must name this machine (against DNS
 * rebinding), a foreign Origin is refused (against forged requests from a browser),
 * and where a token or a certificate is asked for every call but health needs one. A reader's
 * calls may not change anything.
 */
import { isIP } from "node:net"
import type { FastifyReply, FastifyRequest } from "fastify"
import type { NormalizedAdmin } from "../config/index.ts"
import { type Credentials, callerOf } from "./identity.ts"
import { sendProblem } from "./problem.ts"

/** Answered without a token: a load balancer has none, and the dashboard asks for one. */
const OPEN = new Set(["/health", "/ready", "/", "/dashboard/main.js", "/dashboard/main.css"])

export type Guard = (request: FastifyRequest, reply: FastifyReply) => Promise<FastifyReply | undefined>

/** Methods of a reader. */
const READS = new Set(["GET", "HEAD", "OPTIONS"])

export function createGuard(admin: Credentials & Pick<NormalizedAdmin, "host" | "hosts">): Guard {
  const hosts = new Set(["localhost", admin.host.toLowerCase(), ...admin.hosts.map((host) => host.toLowerCase())])
  return async (request, reply) => {
    const host = hostOf(request.headers.host)
    if (host === null || !isKnown(host, hosts))
      return sendProblem(reply, 421, `Host "${request.headers.host ?? ""}" is not served here`)
    if (!isOwnOrigin(request.headers.origin, request.headers.host))
      return sendProblem(reply, 403, "a foreign Origin may not call the admin API")
    if (request.headers["sec-fetch-site"] === "cross-site")
      return sendProblem(reply, 403, "a foreign site may not call the admin API")
    const caller = callerOf(admin, request)
    request.caller = caller
    if (OPEN.has(request.url)) return undefined
    if (caller === null) {
      reply.header("www-authenticate", 'Bearer realm="tidegate"')
      return sendProblem(
        reply,
        401,
        `a bearer token ${admin.tls?.clientAuth == null ? "is" : "or a certificate is"} needed`,
      )
    }
    if (caller.role === "admin" || READS.has(request.method)) return undefined
    return sendProblem(reply, 403, `${caller.name} may look, not change`)
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
