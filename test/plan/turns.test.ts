/** Long work in turns: the same result as at once, and everything else runs meanwhile. */
import test from "ava"
import fc from "fast-check"
import { loadData, loadDataInTurns } from "../../src/config/index.ts"
import { atOnce, inTurns, jsonTurns, mapTurns, type Turns } from "../../src/turns.ts"
import { start } from "../gateway/start.ts"

test("the JSON made in turns is the JSON of the whole", (t) => {
  const list = fc.array(fc.jsonValue(), { maxLength: 100, size: "max" })
  const value = fc.dictionary(fc.string(), fc.oneof(fc.jsonValue(), list, fc.constant(undefined)))
  fc.assert(
    fc.property(value, (value) => {
      t.deepEqual(atOnce(jsonTurns(value)).toString(), JSON.stringify(value))
    }),
    { numRuns: 200 },
  )
})

test("a mapped list has every entry once, in order", (t) => {
  for (const length of [0, 1, 31, 32, 33, 1_000]) {
    const list = Array.from({ length }, (_, index) => index)
    t.deepEqual(
      atOnce(mapTurns(list, (entry, index) => entry * 2 + index)),
      list.map((entry) => entry * 3),
    )
  }
})

test("work in turns lets timers and sockets have theirs, and fails as it would at once", async (t) => {
  function* busy(): Turns<string> {
    for (let piece = 0; piece < 20; piece++) {
      const end = performance.now() + 3
      while (performance.now() < end);
      yield
    }
    return "done"
  }
  let others = 0
  const timer = setInterval(() => others++, 0)
  t.is(await inTurns(busy()), "done")
  clearInterval(timer)
  t.true(others >= 10, `${others}`)
  // biome-ignore lint/correctness/useYield: it fails before it gets there
  function* broken(): Turns<never> {
    throw new Error("no")
  }
  await t.throwsAsync(inTurns(broken()), { message: "no" })
  t.throws(() => atOnce(broken()), { message: "no" })
})

const route = (index: number) => ({ when: { path: `/r${index}` }, to: "api" }) as object

test("many routes are checked piece by piece, with the faults where they are", async (t) => {
  const routes = Array.from({ length: 200 }, (_, index) => route(index))
  routes[63] = { ...route(63), nonsense: 1 }
  routes[64] = { when: { path: 7 }, to: "api" }
  routes[150] = { when: { path: "/x" }, to: "nowhere" }
  routes[199] = { when: {}, to: "api" }
  const raw = { upstreams: { api: { endpoints: ["127.0.0.1:9"] } }, log: { level: "loud" }, routes }
  const places = (error: unknown) => (error as { problems: { path: string }[] }).problems.map(({ path }) => path).sort()
  const error = t.throws(() => loadData(raw))
  t.deepEqual(places(error), [
    "log.level",
    "routes[150].to",
    "routes[199].when",
    "routes[63].nonsense",
    "routes[64].when.path",
  ])
  t.deepEqual(places(await t.throwsAsync(loadDataInTurns(raw))), places(error))
})

test("of two configurations the later one stays, however long the first takes", async (t) => {
  const config = (count: number, path: string) => ({
    workers: 1,
    dataDir: false,
    upstreams: { api: { endpoints: ["127.0.0.1:9"] } },
    routes: [{ when: { path }, to: "api" }, ...Array.from({ length: count }, (_, index) => route(index))],
  })
  const { gateway, native } = await start(t, config(0, "/first"))
  await Promise.all([gateway.reload(config(3_000, "/long")), gateway.reload(config(0, "/last"))])
  t.is(native.plan?.routes[0]?.when.path?.value, "/last")
})
