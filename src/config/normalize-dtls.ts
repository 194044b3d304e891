/** `dtls` of a listener with its defaults: keys become digits, files absolute. */
import type { Static } from "typebox"
import type { DtlsPlan } from "../native/index.ts"
import { PSK_MAX, toHex } from "../policy/index.ts"
import { type NormalizeContext, readSecret } from "./normalize-auth.ts"
import { checkedPair, files } from "./normalize-tls.ts"
import type { Path } from "./path.ts"
import type { DtlsSchema } from "./schema/dtls.ts"

type DtlsData = Static<typeof DtlsSchema>

export function normalizeDtls(data: DtlsData, at: Path, context: NormalizeContext): DtlsPlan {
  const { psk = [], askForKey = false, cert, key, clientAuth, connectionId = true } = data
  if ((cert === undefined) !== (key === undefined)) context.report(at, 'say both "cert" and "key"')
  if (psk.length === 0 && !askForKey && cert === undefined)
    context.report(at, 'proves nothing: say "psk", "askForKey", or "cert" and "key"')
  return {
    psk: psk.map(({ identity, key: given, derived = false }, index) => {
      const path = [...at, "psk", index, "key"]
      const keyHex = toHex(readSecret(given, path, context))
      if (keyHex.length > 2 * PSK_MAX) context.report(path, `is longer than ${PSK_MAX} bytes`)
      return { identity, keyHex, derived }
    }),
    askForKey,
    certificate: cert === undefined || key === undefined ? null : checkedPair({ cert, key }, at, context),
    clientAuth:
      clientAuth === undefined
        ? null
        : {
            ca: files(clientAuth.ca, [...at, "clientAuth", "ca"], context),
            crl: files(clientAuth.crl, [...at, "clientAuth", "crl"], context),
            mode: clientAuth.mode ?? "require",
          },
    connectionId,
  }
}
