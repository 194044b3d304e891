/**
 * A text in YAML or JSON as data. A long one keeps nobody waiting: JSON is parsed in turns, YAML by a thread of
 * its own, and where in the text something stands is looked up once somebody asks.
 */
import { extname } from "node:path"
import { Worker } from "node:worker_threads"
import { LineCounter, parseDocument as parse, type Document as YamlDocument } from "yaml"
import type { Problem } from "../errors.ts"
import { inTurns, parseTurns } from "../turns.ts"
import type { Path } from "./path.ts"
import { type LinesOf, yamlLines } from "./positions.ts"

/** Longer texts would keep the event loop for more than some 20 ms. */
const LONG = 16 * 1024

/** What a text says; with `problems` it says nothing. */
export interface ParsedDocument {
  readonly raw: unknown
  readonly problems: readonly Problem[]
  readonly linesOf: LinesOf
}

/** What the thread is asked: for the data, or for the lines of paths. */
export interface DocumentQuestion {
  readonly text: string
  readonly paths: readonly Path[] | null
}

export type DocumentAnswer =
  | { readonly json: string; readonly problems: readonly Problem[] }
  | { readonly lines: readonly (number | undefined)[] }

/** Never rejects for what the text says. JSON that long that names a key twice means the last one. */
export async function parseDocument(text: string): Promise<ParsedDocument> {
  if (text.length <= LONG) return parseHere(text)
  const linesOf: LinesOf = async (paths) => {
    const answer = await ask({ text, paths })
    return "lines" in answer ? answer.lines : []
  }
  try {
    if (/^\s*\{/.test(text)) return { raw: await inTurns(parseTurns(text)), problems: [], linesOf }
  } catch {
    // A flow mapping of YAML, or a fault whose line is wanted.
  }
  const answer = await ask({ text, paths: null })
  if ("lines" in answer) return { raw: {}, problems: [], linesOf }
  return { raw: await inTurns(parseTurns(answer.json)), problems: answer.problems, linesOf }
}

/** What the thread answers. */
export function answerTo({ text, paths }: DocumentQuestion): DocumentAnswer {
  const { document, counter, problems } = parseYaml(text)
  if (paths !== null) return { lines: paths.map(yamlLines(document, counter)) }
  return { json: JSON.stringify(toData(document, problems)), problems }
}

function parseHere(text: string): ParsedDocument {
  const { document, counter, problems } = parseYaml(text)
  const lineOf = yamlLines(document, counter)
  return { raw: toData(document, problems), problems, linesOf: async (paths) => paths.map(lineOf) }
}

function parseYaml(text: string): { document: YamlDocument; counter: LineCounter; problems: Problem[] } {
  const counter = new LineCounter()
  const document = parse(text, { lineCounter: counter, prettyErrors: false, merge: true })
  const problems = document.errors.map(({ message, pos }) => ({
    path: "",
    message,
    line: counter.linePos(pos[0]).line,
  }))
  return { document, counter, problems }
}

function toData(document: YamlDocument, problems: readonly Problem[]): unknown {
  return problems.length > 0 ? {} : (document.toJS({ maxAliasCount: 100 }) ?? {})
}

/** One thread for one question: documents that long are rare, and their lines rarer. */
function ask(question: DocumentQuestion): Promise<DocumentAnswer> {
  const entry = new URL(`./document-thread${extname(import.meta.url)}`, import.meta.url)
  const worker = new Worker(entry, { workerData: question, name: "tidegate-document" })
  return new Promise<DocumentAnswer>((resolve, reject) => {
    worker.once("message", resolve)
    worker.once("error", reject)
    worker.once("exit", () => reject(new Error("the thread that parses it has ended")))
  })
}
