/**
 * The schema's check as a function. Ajv takes more than a second of CPU to compile it, so the build
 * keeps the code that it makes (`bin/bundle.mjs`); here it is compiled only where the kept one
 * belongs to another schema, as it does between a change of the schema and the next build.
 */
import { createHash } from "node:crypto"
import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"
import type { Ajv, ErrorObject, Options } from "ajv"
import { ConfigSchema } from "./schema/index.ts"

export interface ShapeCheck {
  (data: unknown): boolean
  errors?: ErrorObject[] | null
}

/** What both are compiled with. */
export const AJV_OPTIONS: Options = { allErrors: true, strict: false }

/** From `src/config` and from `dist/config` the same file. */
const KEPT = fileURLToPath(new URL("../../dist/config/validator.cjs", import.meta.url))

/** Tells one schema from the next. */
export function fingerprint(): string {
  return createHash("sha256").update(JSON.stringify(ConfigSchema)).digest("hex")
}

export function shapeCheck(): ShapeCheck {
  const require = createRequire(import.meta.url)
  const kept = existsSync(KEPT) ? (require(KEPT) as { check: ShapeCheck; fingerprint: string }) : null
  if (kept?.fingerprint === fingerprint()) return kept.check
  const { Ajv: Compiler } = require("ajv") as { Ajv: typeof Ajv }
  return new Compiler(AJV_OPTIONS).compile(ConfigSchema)
}
