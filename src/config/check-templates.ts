/** What of a route is filled in for each request: the names it uses, and the header fields it writes. */
import { captureNames } from "../route/index.ts"
import type { Report } from "./check.ts"
import { didYouMean } from "./nearest.ts"
import type { Path } from "./path.ts"
import type { RouteData } from "./schema/index.ts"

/** Names that stand for something without a capture. */
const ALWAYS = ["rest", "topic", "host", "path", "query"]

export function checkTemplates(route: RouteData, at: Path, report: Report): void {
  const known = [...captureNames(route.when), ...ALWAYS]
  const check = (path: Path, text: string | undefined): void => {
    const fault = text === undefined ? null : templateFault(text, known)
    if (fault !== null) report([...at, ...path], fault)
  }
  const { redirect, topic } = typeof route.to === "object" && !Array.isArray(route.to) ? targetOf(route.to) : {}
  check(["to", "redirect", "location"], redirect?.location)
  check(["to", "topic"], topic)
  for (const [index, use] of (route.use ?? []).entries()) {
    if (typeof use === "string") continue
    for (const key of ["path", "host", "topic"] as const) check(["use", index, "rewrite", key], use.rewrite?.[key])
    for (const key of HEADER_STEPS) checkHeaders(use[key], [...at, "use", index, key], report)
  }
}

type TargetData = Exclude<RouteData["to"], string | readonly unknown[]>
const targetOf = (to: RouteData["to"]): TargetData => to as TargetData

/** A name that nothing stands for, or a brace alone. */
function templateFault(text: string, known: readonly string[]): string | null {
  for (const [found, name] of text.matchAll(/\{([^{}]*)\}|[{}]/g)) {
    if (name === undefined) return `"${text}" has a "${found}" without its other brace`
    if (known.includes(name)) continue
    return `"{${name}}" stands for nothing here${didYouMean(name, known) || `; known: ${known.join(", ")}`}`
  }
  return null
}

const HEADER_STEPS = ["setHeader", "addHeader", "setResponseHeader", "addResponseHeader"] as const

function checkHeaders(headers: Readonly<Record<string, string>> | undefined, at: Path, report: Report): void {
  for (const [name, value] of Object.entries(headers ?? {})) {
    if (!/^[!#$%&'*+.^_`|~\w-]+$/.test(name)) report([...at, name], `"${name}" is no header name`)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value))
      report([...at, name], "a header's value has no control characters")
  }
}
