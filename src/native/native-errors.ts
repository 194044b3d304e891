/** Turns what the addon throws, `CODE: text`, into a coded error. */
import { ERROR_CODES, type ErrorCode, messageOf, TidegateError } from "../errors.ts"

const CODED = /^([A-Z][A-Z_]+): ([\s\S]*)$/

const HINTS: Partial<Record<ErrorCode, string>> = {
  PORT_IN_USE: "find it with: ss -lntup",
  ADDRESS_NOT_AVAILABLE: "use an address of this machine, 127.0.0.1 or 0.0.0.0",
}

/** Of CANNOT_LISTEN, by the system's words. */
const REFUSALS: readonly (readonly [RegExp, string])[] = [
  [/Permission denied/, "ports below 1024 need a privilege; choose a higher one"],
  [/Cannot assign requested address/, "the address is none of this machine; 0.0.0.0 and [::] stand for all it has"],
]

/** The error for a failed native call; unknown texts become NATIVE_FAILED. */
export function toTidegateError(error: unknown): TidegateError {
  if (error instanceof TidegateError) return error
  const [, code = "", text = ""] = CODED.exec(messageOf(error)) ?? []
  if (!isErrorCode(code)) return new TidegateError("NATIVE_FAILED", messageOf(error), { cause: error })
  const hint = HINTS[code] ?? (code === "CANNOT_LISTEN" ? REFUSALS.find(([words]) => words.test(text))?.[1] : undefined)
  return new TidegateError(code, text, { cause: error, hint })
}

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text)
}
