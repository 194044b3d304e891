/**
 * Who calls the admin API: the machine itself where nothing is asked for, the holder of a token,
 * or of a certificate that the admin listener verified. Readers may look, not change.
 */
import { createHash, timingSafeEqual } from "node:crypto"
import type { IncomingHttpHeaders } from "node:http"
import type { NormalizedAdmin } from "../config/index.ts"

export interface Caller {
  readonly role: "admin" | "reader"
  /** `local`, `token`, `readToken`, or `CN=...` of the certificate. */
  readonly name: string
}

declare module "fastify" {
  interface FastifyRequest {
    caller: Caller | null
  }
}

/** What of a call says who makes it. */
export interface Call {
  readonly headers: IncomingHttpHeaders
  readonly socket: object
}

/** What of the configuration says who may call. */
export type Credentials = Pick<NormalizedAdmin, "token" | "readToken" | "readers" | "tls">

/** Null: nobody that may call. */
export function callerOf({ token, readToken, readers, tls }: Credentials, { headers, socket }: Call): Caller | null {
  const certified = subjectOf(socket)
  if (certified !== null) return { role: readers.includes(certified) ? "reader" : "admin", name: `CN=${certified}` }
  const given = /^Bearer (.+)$/i.exec(headers.authorization ?? "")?.[1] ?? ""
  if (token !== null && isSame(given, token)) return { role: "admin", name: "token" }
  if (readToken !== null && isSame(given, readToken)) return { role: "reader", name: "readToken" }
  const isOpen = token === null && tls?.clientAuth == null
  return isOpen ? { role: "admin", name: "local" } : null
}

/** The common name of the certificate that was shown and verified; null: none was. */
function subjectOf(socket: object): string | null {
  if (!("authorized" in socket) || socket.authorized !== true || !("getPeerCertificate" in socket)) return null
  const { subject } = (socket.getPeerCertificate as () => { subject?: { CN?: string | string[] } })()
  return [subject?.CN ?? "?"].flat().join(",")
}

function isSame(given: string, token: string): boolean {
  // Equal lengths for the comparison, whatever was given.
  const hash = (text: string): Buffer => createHash("sha256").update(text).digest()
  return timingSafeEqual(hash(given), hash(token))
}
