/**
 * From a path in the data to a line in the file: exact for YAML and JSON, by a search
 * for the keys in order for TypeScript and JavaScript.
 */
import { type Document, isMap, isScalar, isSeq, type LineCounter, type Node } from "yaml"
import type { Path } from "./path.ts"

/** 1-based line of a path, or of the nearest thing around it; undefined where nothing is known. */
export type LineOf = (path: Path) => number | undefined

/** The same of many paths, for what may have to be parsed once more to say it. */
export type LinesOf = (paths: readonly Path[]) => Promise<readonly (number | undefined)[]>

/** Lines of a parsed YAML or JSON document. */
export function yamlLines(document: Document, counter: LineCounter): LineOf {
  return (path) => {
    let node: unknown = document.contents
    let offset = (node as Node | null)?.range?.[0]
    for (const segment of path) {
      const step = enter(node, segment)
      if (step === null) break
      offset = step.offset ?? offset
      node = step.node
    }
    return offset === undefined ? undefined : counter.linePos(offset).line
  }
}

function enter(node: unknown, segment: string | number): { node: unknown; offset: number | undefined } | null {
  if (isSeq(node)) {
    const item = node.items[Number(segment)] as Node | undefined
    return item === undefined ? null : { node: item, offset: item.range?.[0] }
  }
  if (!isMap(node)) return null
  const pair = node.items.find(({ key }) => (isScalar(key) ? String(key.value) : String(key)) === String(segment))
  return pair === undefined ? null : { node: pair.value, offset: (pair.key as Node).range?.[0] }
}

/** Lines of program text: each key is looked for behind the one before it, and in no comment. */
export function sourceLines(text: string): LineOf {
  const source = withoutComments(text)
  return (path) => {
    let at = -1
    for (const segment of path) {
      if (typeof segment === "number") at = afterItems(source, at, segment)
      const next = typeof segment === "number" ? -1 : source.slice(at + 1).search(keyPattern(segment))
      if (next !== -1) at += 1 + next
    }
    return at < 0 ? undefined : source.slice(0, at + 1).split("\n").length
  }
}

/** As long, line by line: what stands in strings stays. */
function withoutComments(text: string): string {
  const parts = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\//g
  return text.replace(parts, (part) => (part.startsWith("/") ? part.replace(/[^\n]/g, " ") : part))
}

function keyPattern(key: string): RegExp {
  const escaped = key.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")
  return new RegExp(`(?:["']${escaped}["']|\\b${escaped})\\s*[:(]`)
}

/** Where item `count` of the list that opens behind `from` starts. */
function afterItems(source: string, from: number, count: number): number {
  const open = source.indexOf("[", from + 1)
  if (open === -1) return from
  let depth = 0
  let left = count
  for (let at = open + 1; at < source.length; at++) {
    const letter = source[at] ?? ""
    if (depth === 0 && left === 0 && /\S/.test(letter)) return at - 1
    if ("[{(".includes(letter)) depth++
    if ("]})".includes(letter)) depth--
    if (depth < 0) break
    if (depth === 0 && letter === ",") left--
  }
  return open
}
