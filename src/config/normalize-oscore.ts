/** `oscore` of a listener with its defaults: secrets become digits. */
import type { Static } from "typebox"
import type { OscorePlan } from "../native/index.ts"
import { toHex } from "../policy/index.ts"
import { type NormalizeContext, readSecret } from "./normalize-auth.ts"
import type { Path } from "./path.ts"
import type { OscoreSchema } from "./schema/oscore.ts"

export function normalizeOscore(
  data: Static<typeof OscoreSchema>,
  at: Path,
  context: NormalizeContext,
): readonly OscorePlan[] {
  const known = new Set<string>()
  return data.map((given, index) => {
    const { name, masterSecret, masterSalt = "", idContext = null, replayWindow = 32 } = given
    const senderIdHex = given.senderId.toLowerCase()
    const recipientIdHex = given.recipientId.toLowerCase()
    const place = [...at, index]
    if (senderIdHex === recipientIdHex) context.report([...place, "recipientId"], "is the same as senderId")
    const key = `${recipientIdHex}/${idContext?.toLowerCase() ?? ""}`
    if (known.has(key)) context.report([...place, "recipientId"], "stands twice; say an idContext")
    known.add(key)
    return {
      name,
      masterSecretHex: toHex(readSecret(masterSecret, [...place, "masterSecret"], context)),
      masterSaltHex: toHex(masterSalt),
      senderIdHex,
      recipientIdHex,
      idContextHex: idContext?.toLowerCase() ?? null,
      replayWindow,
    }
  })
}
