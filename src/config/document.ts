/**
 * A text in YAML or JSON as data. A long one keeps nobody waiting: JSON is parsed in turns, YAML by a thread of
 * its own, and where in the text something stands is looked up once somebody asks.
 */
import { extname } from "node:path"
import { Worker } from "node:worker_threads"
import { LineCounter, parseDocument as parse, visit, type YAMLParseError, type Document as YamlDocument } from "yaml"
import { messageOf, type Problem } from "../errors.ts"
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
  const json = JSON.stringify(toData(document, counter, problems))
  return { json, problems }
}

function parseHere(text: string): ParsedDocument {
  const { document, counter, problems } = parseYaml(text)
  const lineOf = yamlLines(document, counter)
  const raw = toData(document, counter, problems)
  return { raw, problems, linesOf: async (paths) => paths.map(lineOf) }
}

function parseYaml(text: string): { document: YamlDocument; counter: LineCounter; problems: Problem[] } {
  const counter = new LineCounter()
  const document = parse(text, { lineCounter: counter, prettyErrors: false, merge: true })
  const problems = document.errors.map((error) => ({
    path: "",
    message: wording(error, text),
    line: counter.linePos(error.pos[0]).line,
  }))
  return { document, counter, problems }
}

/** The parser's own words, but for those that only its programmers understand. */
function wording({ code, message, pos: [at] }: YAMLParseError, text: string): string {
  if (code === "DUPLICATE_KEY")
    return `${/^(["']?)[^:\n]*?\1(?=\s*:)/.exec(text.slice(at))?.[0] ?? "a key"} stands here twice`
  if (code === "MULTIPLE_DOCS") return "a second document begins here: a configuration is one, without a line ---"
  return message
}

/** What it says; what is wrong with its aliases is found only now, and added to the problems. */
function toData(document: YamlDocument, counter: LineCounter, problems: Problem[]): unknown {
  if (problems.length > 0) return {}
  try {
    return document.toJS({ maxAliasCount: 100 }) ?? {}
  } catch (error) {
    problems.push(...danglingAliases(document, counter))
    if (problems.length === 0) problems.push({ path: "", message: messageOf(error) })
    return {}
  }
}

function danglingAliases(document: YamlDocument, counter: LineCounter): Problem[] {
  const found: Problem[] = []
  visit(document, {
    Alias: (_, alias) => {
      if (alias.resolve(document) !== undefined) return
      const message = `*${alias.source} stands for nothing: there is no &${alias.source} before it`
      found.push({ path: "", message, line: counter.linePos(alias.range?.[0] ?? 0).line })
    },
  })
  return found
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
