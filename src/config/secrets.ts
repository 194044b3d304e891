/** Secrets: where they stand, their value, and how they are hidden wherever data is shown. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { messageOf } from "../errors.ts"
import { decrypt } from "./encrypted.ts"
import type { SecretData } from "./schema/index.ts"

export const HIDDEN = "***"

/** The value of a secret, or why there is none. Relative files stand beside the configuration. */
export function resolveSecret(secret: SecretData, folder: string): { value: string } | { fault: string } {
  if (typeof secret === "string") return { value: secret }
  if ("encrypted" in secret) return decrypt(secret.encrypted)
  if ("env" in secret) {
    const value = process.env[secret.env]
    return value === undefined || value === ""
      ? { fault: `the environment variable ${secret.env} is not set` }
      : { value }
  }
  try {
    return { value: readFileSync(resolve(folder, secret.file), "utf8").trim() }
  } catch (error) {
    return { fault: `the file ${secret.file} cannot be read: ${messageOf(error)}` }
  }
}

const SECRET_KEYS = new Set([
  "token",
  "readToken",
  "password",
  "hash",
  "secret",
  "keyHex",
  "masterSecret",
  "masterSecretHex",
])

/** Maps of a name to something secret. */
const SECRET_MAPS = new Set(["users", "keys"])

/** A copy that may be printed: values of secret keys, of `users` and of `keys` are hidden. */
export function redact(value: unknown, parent = ""): unknown {
  if (Array.isArray(value)) {
    const [name, ...rest] = value as unknown[]
    if (parent === "pair" && rest.length === 1) return [name, HIDDEN]
    return value.map((item: unknown) => redact(item, SECRET_MAPS.has(parent) && Array.isArray(item) ? "pair" : parent))
  }
  if (value === null || typeof value !== "object") return value
  const entries = Object.entries(value).map(([key, inner]: [string, unknown]) => {
    const hides =
      typeof inner === "string" &&
      // Elsewhere `key` names a file, or what to hash by.
      (SECRET_KEYS.has(key) || (SECRET_MAPS.has(parent) && key !== "name") || (parent === "psk" && key === "key"))
    // What a collector is shown is for its eyes only; other headers are no secrets.
    const within = parent === "tracing" && key === "headers" ? "keys" : key
    return [key, hides ? HIDDEN : redact(inner, within)] as const
  })
  return Object.fromEntries(entries)
}
