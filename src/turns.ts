/**
 * Long work in turns: a generator yields where it may be interrupted, so that one function serves
 * who needs its result at once and who must not keep everything else waiting meanwhile.
 */

export type Turns<T> = Generator<void, T, void>

/** Beyond this much work everything else has its turn. */
const TURN_MS = 2
/** Entries of a list between two looks at the time. */
const CHUNK = 32

/** Does all of it now. */
export function atOnce<T>(turns: Turns<T>): T {
  for (;;) {
    const step = turns.next()
    if (step.done === true) return step.value
  }
}

/** Does it turn by turn. */
export async function inTurns<T>(turns: Turns<T>): Promise<T> {
  let began = performance.now()
  for (;;) {
    const step = turns.next()
    if (step.done === true) return step.value
    if (performance.now() - began < TURN_MS) continue
    await new Promise((resolve) => setImmediate(resolve))
    began = performance.now()
  }
}

/** `map` of a list, in turns. */
export function* mapTurns<T, R>(list: readonly T[], map: (entry: T, index: number) => R): Turns<R[]> {
  const mapped: R[] = []
  for (const [index, entry] of list.entries()) {
    mapped.push(map(entry, index))
    if (index % CHUNK === CHUNK - 1) yield
  }
  return mapped
}

/** Pieces of a list, for work that is done better piece by piece; `from` is the index of its first entry. */
export function* pieces<T>(list: readonly T[], length = CHUNK): Generator<{ piece: readonly T[]; from: number }> {
  for (let from = 0; from < list.length; from += length) yield { piece: list.slice(from, from + length), from }
}

/** The JSON of an object whose lists may be long, as UTF-8. */
export function* jsonTurns(value: object): Turns<Buffer> {
  const parts: Buffer[] = []
  let before = "{"
  for (const [key, inner] of Object.entries(value)) {
    if (inner === undefined) continue
    const name = `${before}${JSON.stringify(key)}:`
    before = ","
    if (!Array.isArray(inner) || inner.length <= CHUNK) {
      parts.push(Buffer.from(name + JSON.stringify(inner)))
      yield
      continue
    }
    for (const { piece, from } of pieces(inner)) {
      const text = JSON.stringify(piece).slice(1, -1)
      parts.push(Buffer.from(from === 0 ? `${name}[${text}` : `,${text}`))
      yield
    }
    parts.push(Buffer.from("]"))
  }
  parts.push(Buffer.from(before === "{" ? "{}" : "}"))
  const whole = Buffer.allocUnsafe(parts.reduce((length, part) => length + part.length, 0))
  let at = 0
  for (const part of parts) {
    at += part.copy(whole, at)
    yield
  }
  return whole
}

/** Shorter texts are parsed at once. */
const LONG_TEXT = 32 * 1024
/** Characters of a list that are parsed together, at least. */
const PIECE = 16 * 1024

/**
 * `JSON.parse` of a text whose long lists stand in its outermost object. Throws a SyntaxError for what is
 * no JSON; where in the text it is, only `JSON.parse` of the whole says.
 */
export function* parseTurns(text: string): Turns<unknown> {
  if (text.length <= LONG_TEXT || !/^\s*\{/.test(text)) return JSON.parse(text) as unknown
  const whole: Record<string, unknown> = {}
  let at = text.indexOf("{") + 1
  for (;;) {
    const colon = /\s*("(?:[^"\\]|\\.)*")\s*:\s*/y
    colon.lastIndex = at
    const [, name] = colon.exec(text) ?? []
    if (name === undefined) break
    const found = yield* parseMember(text, colon.lastIndex)
    // As JSON.parse does, not by a setter.
    Object.defineProperty(whole, JSON.parse(name) as string, {
      value: found.value,
      enumerable: true,
      writable: true,
      configurable: true,
    })
    at = found.end + 1
    if (text[found.end] === ",") continue
    if (text[found.end] === "}" && text.slice(at).trim() === "") return whole
    break
  }
  throw new SyntaxError("this is no JSON object")
}

/** A value of the outermost object, and where the comma or brace behind it stands. */
function* parseMember(text: string, from: number): Turns<{ value: unknown; end: number }> {
  const isList = text[from] === "["
  const list: unknown[] = []
  let [depth, begin] = [0, from]
  for (let at = from; at < text.length; at++) {
    const letter = text.charCodeAt(at)
    if (letter === QUOTE) {
      at = endOfText(text, at)
    } else if (letter === OPEN_LIST || letter === OPEN_OBJECT) {
      depth++
    } else if (letter === CLOSE_LIST || letter === CLOSE_OBJECT) {
      if (depth === 0) return { value: isList ? list : JSON.parse(text.slice(begin, at)), end: at }
      depth--
      if (depth > 0 || !isList) continue
      // The last piece, without its brackets.
      append(list, begin === from ? text.slice(from, at + 1) : `[${text.slice(begin, at + 1)}`)
      const behind = /\s*/y
      behind.lastIndex = at + 1
      behind.exec(text)
      return { value: list, end: behind.lastIndex }
    } else if (letter === COMMA && depth === 0) {
      return { value: JSON.parse(text.slice(begin, at)) as unknown, end: at }
    } else if (letter === COMMA && depth === 1 && isList && at - begin > PIECE) {
      append(list, `${begin === from ? "" : "["}${text.slice(begin, at)}]`)
      begin = at + 1
      yield
    }
  }
  throw new SyntaxError("the end is missing")
}

const [QUOTE, COMMA] = [0x22, 0x2c]
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]

function append(list: unknown[], piece: string): void {
  for (const entry of JSON.parse(piece) as unknown[]) list.push(entry)
}

/** The quote that ends the text which begins at one; the end of all where there is none. */
function endOfText(text: string, from: number): number {
  for (let at = text.indexOf('"', from + 1); at !== -1; at = text.indexOf('"', at + 1)) {
    let escapes = 0
    while (text[at - 1 - escapes] === "\\") escapes++
    if (escapes % 2 === 0) return at
  }
  return text.length
}
