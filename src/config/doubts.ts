/** What may be meant as it stands and most often is not: told as warnings. Looks at the disk, changes nothing. */
import { existsSync } from "node:fs"
import type { NormalizedConfig } from "./normalized.ts"
import type { ConfigData } from "./schema/index.ts"
import type { Fault } from "./validate.ts"

export function doubts({ routes, bridges }: NormalizedConfig, data: ConfigData): Fault[] {
  const found: Fault[] = []
  for (const [index, { target }] of routes.entries()) {
    if (target.kind !== "directory" || existsSync(target.path)) continue
    found.push(warning(["routes", index, "to", "directory"], `${target.path} does not exist: every answer is 404`))
  }
  for (const [index, bridge] of bridges.entries()) {
    if (bridge.in.length + bridge.out.length > 0) continue
    const place = Array.isArray(data.bridges) ? index : bridge.name
    found.push(warning(["bridges", place], 'says neither "in" nor "out": nothing crosses it'))
  }
  return found
}

const warning = (path: Fault["path"], message: string): Fault => ({ path, message, severity: "warning" })
