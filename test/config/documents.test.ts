/** Long documents: parsed off the event loop or in turns, with the same data, lines and problems as short ones. */
import test from "ava"
import fc from "fast-check"
import { parseDocument } from "../../src/config/document.ts"
import { atOnce, parseTurns } from "../../src/turns.ts"

const entry = (index: number): object => ({
  when: { host: `h${index}.example`, path: `/r{${index}}/**` },
  to: 'a"]}\\,',
})
const entries = (count: number): object[] => Array.from({ length: count }, (_, index) => entry(index))
const yaml = (count: number): string =>
  `routes:\n${entries(count)
    .map((route) => `  - ${JSON.stringify(route)}\n`)
    .join("")}`

/** What a parser makes of a text; the same for all errors. */
function outcome(parse: () => unknown): string {
  try {
    return JSON.stringify(parse())
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return "no JSON"
  }
}

test("JSON in turns is what JSON.parse makes of it, and nothing else is JSON", (t) => {
  const long = fc.array(fc.jsonValue({ maxDepth: 3 }), { minLength: 0, maxLength: 40 })
  const members = fc.dictionary(fc.string(), fc.oneof(long, fc.jsonValue({ maxDepth: 2 })), { maxKeys: 4 })
  // Longer than what is parsed at once.
  const filler = entries(1_000)
  fc.assert(
    fc.property(
      members,
      fc.constantFrom(undefined, 1, "\t"),
      fc.nat(),
      fc.string({ maxLength: 1 }),
      (some, indent, at, letter) => {
        const text = JSON.stringify({ filler, ...some, more: filler }, null, indent)
        t.is(
          outcome(() => atOnce(parseTurns(text))),
          outcome(() => JSON.parse(text)),
        )
        const place = at % text.length
        const broken = text.slice(0, place) + letter + text.slice(place + 1)
        t.is(
          outcome(() => atOnce(parseTurns(broken))),
          outcome(() => JSON.parse(broken)),
        )
      },
    ),
    { numRuns: 60 },
  )
})

test("a long YAML is parsed while the event loop turns, and its lines are known", async (t) => {
  let turns = 0
  let isOver = false
  const turn = (): void => {
    turns++
    if (!isOver) setTimeout(turn, 1)
  }
  turn()
  const { raw, problems, linesOf } = await parseDocument(yaml(3_000))
  isOver = true
  t.deepEqual(raw, { routes: entries(3_000) })
  t.deepEqual(problems, [])
  t.true(turns > 20, `${turns} turns`)
  t.deepEqual(await linesOf([["routes", 0, "to"], ["routes", 2_999], ["nothing"]]), [2, 3_001, 1])
})

test("a long JSON has lines, too, and a broken one says where", async (t) => {
  const text = JSON.stringify({ routes: entries(500) }, null, 1)
  const whole = await parseDocument(text)
  t.deepEqual(whole.raw, { routes: entries(500) })
  const lines = await whole.linesOf([["routes", 1, "when", "host"]])
  t.true(text.split("\n")[(lines[0] ?? 0) - 1]?.includes("h1.example"))
  const cut = await parseDocument(text.slice(0, -4))
  t.true(cut.problems.length > 0)
  t.is(typeof cut.problems[0]?.line, "number")
})

test("a key twice in what people write is told", async (t) => {
  const { problems } = await parseDocument('{ "workers": 1, "workers": 2 }')
  t.is(problems.length, 1)
  t.is(problems[0]?.line, 1)
})
