/**
 * Who may call the admin API: the Host header must name this machine (against DNS
 * rebinding), a foreign Origin is refused (against forged requests from a browser),
 * and where a token or a certificate is asked for every call but health needs one. A reader's
 * calls may not change anything.
 */
import type { IncomingHttpHeaders } from "node:http"
import { isIP } from "node:net"
import type { FastifyReply, FastifyRequest } from "fastify"
import type { NormalizedAdmin } from "../config/index.ts"
import { type Call, type Caller, type Credentials, callerOf } from "./identity.ts"
import { sendProblem } from "./problem.ts"

/** Answered without a token: a load balancer has none, and the dashboard asks for one. */
const OPEN = new Set(["/health", "/ready", "/", "/dashboard/main.js", "/dashboard/main.css"])

/** What a call is judged by. */
export interface JudgedCall extends Call {
  /** Whoever calls: no load balancer has a token. */
  readonly isOpen: boolean
  readonly isRead: boolean
}

/** Who calls, and why the call is not made: null where it is. */
export interface Judgement {
  readonly caller: Caller | null
  readonly refusal: { readonly status: 401 | 403 | 421; readonly detail: string } | null
}

export type Judge = (call: JudgedCall) => Judgement

/** Methods of a reader. */
const READS = new Set(["GET", "HEAD", "OPTIONS"])

/** The rules of the admin API, for whichever protocol a call comes in. */
export function createJudge(admin: Credentials & Pick<NormalizedAdmin, "host" | "hosts">): Judge {
  const hosts = new Set(["localhost", admin.host.toLowerCase(), ...admin.hosts.map((host) => host.toLowerCase())])
  const refuse = (status: 401 | 403 | 421, detail: string, caller: Caller | null = null): Judgement => {
    return { caller, refusal: { status, detail } }
  }
  return ({ headers, socket, isOpen, isRead }) => {
    // HTTP/2 has the authority in the place of Host (RFC 9113, 8.3.1).
    const authority = authorityOf(headers)
    const host = hostOf(authority)
    if (host === null || !isKnown(host, hosts)) return refuse(421, `Host "${authority ?? ""}" is not served here`)
    if (!isOwnOrigin(headers.origin, authority)) return refuse(403, "a foreign Origin may not call the admin API")
    if (headers["sec-fetch-site"] === "cross-site") return refuse(403, "a foreign site may not call the admin API")
    const caller = callerOf(admin, { headers, socket })
    if (isOpen) return { caller, refusal: null }
    if (caller === null)
      return refuse(401, `a bearer token ${admin.tls?.clientAuth == null ? "is" : "or a certificate is"} needed`)
    if (caller.role === "admin" || isRead) return { caller, refusal: null }
    return refuse(403, `${caller.name} may look, not change`, caller)
  }
}

/** The judge as a hook of fastify. */
export function createGuard(judge: Judge) {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> => {
    const { headers, raw, url, method } = request
    const call = { headers, socket: raw.socket, isOpen: OPEN.has(url), isRead: READS.has(method) }
    const { caller, refusal } = judge(call)
    request.caller = caller
    if (refusal === null) return undefined
    if (refusal.status === 401) reply.header("www-authenticate", 'Bearer realm="tidegate"')
    return sendProblem(reply, refusal.status, refusal.detail)
  }
}

function authorityOf(
  headers: IncomingHttpHeaders & { readonly ":authority"?: string | undefined },
): string | undefined {
  return headers[":authority"] ?? headers.host
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
