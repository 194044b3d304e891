/** `dtls` of a listener with its defaults: keys become digits, files absolute. */
import type { Static } from "typebox"
import type { DtlsPlan } from "../native/index.ts"
import { type NormalizeContext, readSecret } from "./normalize-auth.ts"
import { checkedPair, files } from "./normalize-tls.ts"
import type { Path } from "./path.ts"
import type { DtlsSchema } from "./schema/dtls.ts"

type DtlsData = Static<typeof DtlsSchema>

/** What the native library takes as a key. */
const KEY_MAX = 32
const HEX = /^hex:((?:[0-9a-f]{2})+)$/i

export function normalizeDtls(data: DtlsData, at: Path, context: NormalizeContext): DtlsPlan {
  const { psk = [], cert, key, clientAuth, connectionId = true } = data
  if ((cert === undefined) !== (key === undefined)) context.report(at, 'say both "cert" and "key"')
  if (psk.length === 0 && cert === undefined) context.report(at, 'proves nothing: say "psk", or "cert" and "key"')
  return {
    psk: psk.map(({ identity, key: given, derived = false }, index) => {
      const path = [...at, "psk", index, "key"]
      const keyHex = toHex(readSecret(given, path, context))
      if (keyHex.length > 2 * KEY_MAX) context.report(path, `is longer than ${KEY_MAX} bytes`)
      return { identity, keyHex, derived }
    }),
    certificate: cert === undefined || key === undefined ? null : checkedPair({ cert, key }, at, context),
    clientAuth:
      clientAuth === undefined
        ? null
        : {
            ca: files(clientAuth.ca, context),
            crl: files(clientAuth.crl, context),
            mode: clientAuth.mode ?? "require",
          },
    connectionId,
  }
}

/** Text, or `hex:` and digits, as digits. */
export function toHex(text: string): string {
  return HEX.exec(text)?.[1]?.toLowerCase() ?? Buffer.from(text, "utf8").toString("hex")
}
