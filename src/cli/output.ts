/** What commands print: data on standard output, everything else on standard error. */
import { ERROR_CODES, messageOf, type Problem, TidegateError } from "../errors.ts"
import { formatTable } from "./table.ts"

export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value, null, 2))
}

/** A table, or that there is nothing to show. */
export function printRows(headings: readonly string[], rows: readonly (readonly unknown[])[]): void {
  print(rows.length === 0 ? "none" : formatTable(headings, rows))
}

export function complain(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** `file:line: path: message`, as editors understand it. */
export function formatProblem({ path, message, line, severity }: Problem, file: string | null): string {
  const where = file === null ? "" : `${file}${line === undefined ? "" : `:${line}`}: `
  return `${where}${path === "" ? "" : `${path}: `}${severity === "warning" ? "warning: " : ""}${message}`
}

/** Says what went wrong and what to do, and gives the exit code. */
export function report(error: unknown): number {
  if (isFileFault(error)) return report(new TidegateError("FILE_UNUSABLE", error.message, { cause: error }))
  if (!(error instanceof TidegateError)) {
    complain(error instanceof Error ? (error.stack ?? error.message) : String(error))
    complain("this is a fault of tidegate; please report it with the text above")
    return 70
  }
  if (error.problems.length > 0) for (const problem of error.problems) complain(formatProblem(problem, error.file))
  else complain(`tidegate: ${messageOf(error)} [${error.code}]`)
  if (error.hint !== null) complain(`  ${error.hint}`)
  return ERROR_CODES[error.code].exit
}

/** What the system says of a path: no fault of ours. */
function isFileFault(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error && "path" in error
}
