/** file: a YAML or JSON list of instances, read again when it changes. */
import { readFileSync } from "node:fs"
import { parse } from "yaml"
import { watchFile } from "../../config/index.ts"
import type { Source } from "./source.ts"

export const fileSource: Source = async function* ({ source, signal }) {
  yield read(source.target)
  for await (const _ of watchFile(source.target, signal)) yield read(source.target)
}

function read(file: string): readonly unknown[] {
  const list: unknown = parse(readFileSync(file, "utf8"))
  if (!Array.isArray(list)) throw new Error(`${file} is no list of instances`)
  return list
}
