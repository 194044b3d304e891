/**
 * Every error of the control plane: one class, one table of codes. A code is never
 * reused for something else; scripts may match on it. Native errors arrive as
 * `CODE: text` and become the same class (`native/errors.ts`).
 */

/** What each code means, whose fault it is and therefore the exit code of the command line. */
export const ERROR_CODES = {
  CONFIG_INVALID: { exit: 1, text: "the configuration has problems; every one is listed" },
  CONFIG_NOT_FOUND: { exit: 2, text: "no configuration file stands where one was asked for" },
  CONFIG_UNREADABLE: { exit: 2, text: "the configuration file could not be read" },
  CONFIG_NO_PREVIOUS: { exit: 1, text: "there is no earlier version to roll back to" },
  USAGE: { exit: 1, text: "the command line is wrong" },
  POLICY_INVALID: { exit: 1, text: "a policy or handler is declared wrongly" },
  POLICY_FIELD_NOT_DECLARED: { exit: 1, text: "a policy read a field it did not declare in `reads`" },
  POLICY_VERDICT_INVALID: { exit: 1, text: "a policy returned something that is no verdict" },
  POLICY_THREAD_FAILED: { exit: 1, text: "the thread that runs the policies could not start" },
  ADDRESS_INVALID: { exit: 1, text: "an address is not host:port or a known URL form" },
  INVALID_PLAN: { exit: 70, text: "the native side refused a plan that the control plane had accepted" },
  INVALID_OPTIONS: { exit: 70, text: "the native side refused the options of a call" },
  INVALID_WEIGHTS: { exit: 70, text: "the native side refused a list of weights" },
  INVALID_QUERY: { exit: 1, text: "a query for connections, sessions or an explanation is wrong" },
  INVALID_TOPIC: { exit: 1, text: "a topic or topic filter is none" },
  INTERNAL: { exit: 70, text: "the native side failed in a way that should not happen" },
  PANIC: { exit: 70, text: "a native call panicked; the gateway goes on" },
  CLOSED: { exit: 70, text: "the gateway is closed already" },
  THREADS: { exit: 2, text: "the operating system refused to start the worker threads" },
  CODEC_INVALID: { exit: 1, text: "bytes are no packet of their protocol, or a packet cannot be written" },
  PASSWORD: { exit: 70, text: "a password could not be hashed" },
  CANNOT_LISTEN: { exit: 2, text: "the operating system refused to listen on the address" },
  TLS_INVALID: { exit: 2, text: "a file of certificates, keys or revocations cannot be used" },
  PORT_IN_USE: { exit: 2, text: "another process listens on the address" },
  ADDRESS_NOT_AVAILABLE: { exit: 2, text: "the address does not belong to this machine" },
  NATIVE_MISSING: { exit: 2, text: "the native addon for this platform was not found" },
  LAYOUT: { exit: 2, text: "the native addon is of another version than the TypeScript around it" },
  NATIVE_FAILED: { exit: 70, text: "the native side failed in a way that has no name" },
  DATA_DIR_UNWRITABLE: { exit: 2, text: "the data directory cannot be written" },
  DATA_DIR_LOCKED: { exit: 2, text: "another gateway uses the data directory" },
  STORE: { exit: 2, text: "what the data directory keeps cannot be read or written" },
  DATA_DIR_VERSION: { exit: 2, text: "the data directory was written by a newer version" },
  FILE_UNUSABLE: { exit: 2, text: "a file or folder that a command needs cannot be read or written" },
  FILE_EXISTS: { exit: 1, text: "a file that would be written already exists" },
  ADMIN_UNREACHABLE: { exit: 2, text: "no gateway answers on the admin address" },
  ADMIN_REFUSED: { exit: 1, text: "the gateway refused the call" },
  SERVICE_INVALID: { exit: 1, text: "a service instance has wrong fields" },
  SERVICE_UNKNOWN: { exit: 1, text: "no such service instance; it may have expired" },
  OPTIMIZER_CHANGE: { exit: 1, text: "a change of the optimizer cannot be applied or undone any more" },
  GATEWAY_STATE: { exit: 70, text: "the call does not fit the state of the gateway" },
  TEST_TIMEOUT: { exit: 70, text: "a fake device waited in vain" },
  TEST_REFUSED: { exit: 70, text: "a fake device was refused" },
  MODULE_MISSING: { exit: 2, text: "an optional package that is needed here is not installed" },
  NOT_AVAILABLE: { exit: 1, text: "this version does not have the feature yet" },
} as const

/** A code of the table. */
export type ErrorCode = keyof typeof ERROR_CODES

/** One problem of a configuration: where it is, what is wrong with it. */
export interface Problem {
  /** Dotted path, `upstreams.api.endpoints[0]`; empty for the whole document. */
  readonly path: string
  readonly message: string
  /** 1-based; absent where the source has no lines. */
  readonly line?: number
  /** Absent: an error. A warning is shown and changes nothing. */
  readonly severity?: "warning"
}

/** What else an error carries. */
export interface ErrorDetails {
  readonly cause?: unknown
  /** What to do about it, one sentence. */
  readonly hint?: string
  readonly problems?: readonly Problem[]
  /** The file that the problems are in. */
  readonly file?: string
}

/** The only error class that leaves the package. */
export class TidegateError extends Error {
  readonly code: ErrorCode
  readonly hint: string | null
  readonly problems: readonly Problem[]
  readonly file: string | null

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = "TidegateError"
    this.code = code
    this.hint = details.hint ?? null
    this.problems = details.problems ?? []
    this.file = details.file ?? null
  }

  /** Exit code of a command that ended with it: 1 the user's input, 2 the environment, 70 our fault. */
  get exitCode(): number {
    return ERROR_CODES[this.code].exit
  }
}

/** The text of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
