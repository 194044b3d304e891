/** `tls` with its defaults; files become absolute, and a pair that does not fit is reported. */
import { createPrivateKey, X509Certificate } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { resolve } from "node:path"
import type { Static } from "typebox"
import { messageOf } from "../errors.ts"
import type { ClientTlsPlan, PairPlan, ServerTlsPlan } from "../native/index.ts"
import type { NormalizeContext } from "./normalize-auth.ts"
import type { Path } from "./path.ts"
import type { ClientTlsSchema, ServerTlsSchema } from "./schema/tls.ts"

type ServerTlsData = Static<typeof ServerTlsSchema>
type ClientTlsData = Static<typeof ClientTlsSchema>

const ALPN = ["h2", "http/1.1", "mqtt", "coap"] as const

export function normalizeServerTls(data: ServerTlsData, at: Path, context: NormalizeContext): ServerTlsPlan {
  const { cert, key, certificates = [], minVersion = "1.2", clientAuth, sessionTickets = true, alpn = ALPN } = data
  const pairs = cert === undefined || key === undefined ? certificates : [{ cert, key }, ...certificates]
  if ((cert === undefined) !== (key === undefined)) context.report(at, 'say both "cert" and "key"')
  if (pairs.length === 0) context.report(at, 'names no certificate: say "cert" and "key", or "certificates"')
  return {
    certificates: pairs.map((pair) => checkedPair(pair, at, context)),
    minVersion,
    clientAuth:
      clientAuth === undefined
        ? null
        : {
            ca: files(clientAuth.ca, [...at, "clientAuth", "ca"], context),
            crl: files(clientAuth.crl, [...at, "clientAuth", "crl"], context),
            mode: clientAuth.mode ?? "require",
            user: clientAuth.user ?? null,
          },
    sessionTickets,
    alpn,
  }
}

export function normalizeClientTls(
  data: ClientTlsData,
  { at, context, alpn }: { at: Path; context: NormalizeContext; alpn: readonly string[] },
): ClientTlsPlan {
  const { ca, serverName = null, cert, key, verify = true, minVersion = "1.2" } = data === true ? {} : data
  if ((cert === undefined) !== (key === undefined)) context.report(at, 'say both "cert" and "key"')
  const certificate = cert === undefined || key === undefined ? null : checkedPair({ cert, key }, at, context)
  return { ca: files(ca, [...at, "ca"], context), serverName, certificate, verify, minVersion, alpn }
}

/** The native side reads them; here one that is not there gets its place in the configuration. */
export function files(
  given: string | readonly string[] | undefined,
  at: Path,
  { folder, report }: NormalizeContext,
): string[] {
  return [given ?? []].flat().map((name) => {
    const file = resolve(folder, name)
    if (!existsSync(file)) report(at, `${name} does not exist`)
    return file
  })
}

/** The native side checks again what it loads; here the problem gets its place in the configuration. */
export function checkedPair(pair: PairPlan, at: Path, { folder, report }: NormalizeContext): PairPlan {
  const found = { cert: resolve(folder, pair.cert), key: resolve(folder, pair.key) }
  /** What a file holds; which of the two it is that cannot be used, OpenSSL's words do not say. */
  const read = <T>(name: string, mark: string, parse: (bytes: Buffer) => T): T | null => {
    try {
      const bytes = readFileSync(resolve(folder, name))
      if (bytes.includes(`${mark}-----`)) return parse(bytes)
      report(at, `${name} holds no ${mark.toLowerCase()} (PEM)`)
    } catch (error) {
      report(at, `${name} cannot be used: ${messageOf(error)}`)
    }
    return null
  }
  const certificate = read(pair.cert, "CERTIFICATE", (bytes) => new X509Certificate(bytes))
  const key = read(pair.key, "PRIVATE KEY", (bytes) => createPrivateKey(bytes))
  if (certificate !== null && key !== null && !certificate.checkPrivateKey(key))
    report(at, `${pair.key} is not the private key of ${pair.cert}`)
  return found
}
