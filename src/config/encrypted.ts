/**
 * Secrets that stand encrypted in the configuration: AES-256-GCM under one key that is given to
 * the process, not to the configuration. `v1.` and base64 of nonce (12), tag (16) and text.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto"
import { readFileSync } from "node:fs"
import { messageOf } from "../errors.ts"

const ENV = "TIDEGATE_SECRET_KEY"
const [NONCE, TAG] = [12, 16]

/** A new key, base64 of 32 bytes. */
export function newSecretKey(): string {
  return randomBytes(32).toString("base64")
}

/** The key of the environment: TIDEGATE_SECRET_KEY, or the file that TIDEGATE_SECRET_KEY_FILE names. */
export function secretKey(): { key: Buffer } | { fault: string } {
  const { [ENV]: inPlace, [`${ENV}_FILE`]: file } = process.env
  try {
    const text = inPlace || (file ? readFileSync(file, "utf8").trim() : "")
    if (text === "") return { fault: `is encrypted, and neither ${ENV} nor ${ENV}_FILE is set` }
    const key = Buffer.from(text, "base64")
    return key.length === 32 ? { key } : { fault: `is encrypted, and ${ENV} is not base64 of 32 bytes` }
  } catch (error) {
    return { fault: `is encrypted, and its key cannot be read: ${messageOf(error)}` }
  }
}

export function encrypt(text: string, key: Buffer): string {
  const nonce = randomBytes(NONCE)
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG })
  const body = Buffer.concat([cipher.update(text, "utf8"), cipher.final()])
  return `v1.${Buffer.concat([nonce, cipher.getAuthTag(), body]).toString("base64")}`
}

/** Its text, or why it cannot be read. */
export function decrypt(given: string): { value: string } | { fault: string } {
  const held = secretKey()
  if ("fault" in held) return held
  const bytes = Buffer.from(given.replace(/^v1\./, ""), "base64")
  try {
    const decipher = createDecipheriv("aes-256-gcm", held.key, bytes.subarray(0, NONCE), { authTagLength: TAG })
    decipher.setAuthTag(bytes.subarray(NONCE, NONCE + TAG))
    const text = Buffer.concat([decipher.update(bytes.subarray(NONCE + TAG)), decipher.final()])
    return { value: text.toString("utf8") }
  } catch {
    return { fault: "cannot be decrypted: it was changed, or encrypted under another key" }
  }
}
