/** The documents of a `configSource`, parsed: an async iterator beside that of the file. */
import { createHash } from "node:crypto"
import { TidegateError } from "../errors.ts"
import { follow } from "../remote/index.ts"
import { parseDocument } from "./document.ts"
import type { NormalizedConfigSource } from "./normalized.ts"
import { CONFIG_SOURCES } from "./sources/index.ts"

/** Longest document, bytes. */
const MAX_DOCUMENT = 16 * 1024 * 1024

/** One state of the document. */
export interface SourceDocument {
  /** Of the text. */
  readonly hash: string
  readonly text: string
}

export interface SourceFollow {
  readonly source: NormalizedConfigSource
  readonly signal: AbortSignal
  readonly take: (document: SourceDocument) => Promise<void>
  /** Told each fault of the source, once for as long as it stays the same. */
  readonly failed: (fault: string) => void
}

/** Follows a source until the signal; a source without a document is a fault like one that does not answer. */
export function followConfig({ source, signal, take, failed }: SourceFollow): Promise<void> {
  let said: string | null = null
  const tell = (fault: string): void => {
    if (fault !== said) failed(fault)
    said = fault
  }
  return follow<string | null>({
    open: () => CONFIG_SOURCES[source.kind]({ source, signal }),
    take: async (text) => {
      if (text === null) return tell("there is no document")
      if (text.length > MAX_DOCUMENT) return tell(`the document has more than ${MAX_DOCUMENT} bytes`)
      said = null
      await take({ text, hash: createHash("sha256").update(text).digest("hex") })
    },
    failed: tell,
    intervalMs: source.intervalMs,
    signal,
  })
}

/** The document as it is now. Throws when there is none within `timeoutMs`. */
export async function firstDocument(source: NormalizedConfigSource, timeoutMs: number): Promise<SourceDocument> {
  const ended = new AbortController()
  let fault = "it does not answer"
  try {
    return await new Promise<SourceDocument>((resolve, reject) => {
      const late = (): void => reject(new Error(`the source ${source.kind} of the configuration: ${fault}`))
      const timer = setTimeout(late, timeoutMs)
      ended.signal.addEventListener("abort", () => clearTimeout(timer))
      void followConfig({
        source,
        signal: ended.signal,
        take: async (document) => resolve(document),
        failed: (text) => {
          fault = text
        },
      })
    })
  } finally {
    ended.abort()
  }
}

/** What a document says. Rejects with CONFIG_INVALID where it is neither YAML nor JSON. */
export async function parseSource({ text }: SourceDocument, kind: string): Promise<unknown> {
  const { raw, problems } = await parseDocument(text)
  if (problems.length === 0) return raw
  throw new TidegateError("CONFIG_INVALID", `the document of ${kind} is neither YAML nor JSON`, { problems })
}
