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
