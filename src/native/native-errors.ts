/** Turns what the addon throws, `CODE: text`, into a coded error. */
import { ERROR_CODES, type ErrorCode, messageOf, TidegateError } from "../errors.ts"

const CODED = /^([A-Z][A-Z_]+): ([\s\S]*)$/

const HINTS: Partial<Record<ErrorCode, string>> = {
  PORT_IN_USE: "stop the other process, or give the listener another port",
  CANNOT_LISTEN: "ports below 1024 need a privilege; choose a higher one",
  ADDRESS_NOT_AVAILABLE: "use an address of this machine, 127.0.0.1 or 0.0.0.0",
}

/** The error for a failed native call; unknown texts become NATIVE_FAILED. */
export function toTidegateError(error: unknown): TidegateError {
  if (error instanceof TidegateError) return error
  const [, code = "", text = ""] = CODED.exec(messageOf(error)) ?? []
  if (!isErrorCode(code)) return new TidegateError("NATIVE_FAILED", messageOf(error), { cause: error })
  return new TidegateError(code, text, { cause: error, hint: HINTS[code] })
}

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text)
}
