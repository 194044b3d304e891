/** A configuration with very many faults is told all of them. */
import test from "ava"
import { loadData } from "../../src/config/index.ts"
import type { TidegateError } from "../../src/errors.ts"

const endpoints = (count: number): object[] =>
  Array.from({ length: count }, (_, index) => ({ id: `e${index}`, host: "127.0.0.1", port: 80 }))

test("40,000 faults of 10,000 entries are named without a stack that overflows", (t) => {
  const error = t.throws<TidegateError>(() => loadData({ upstreams: { api: { endpoints: endpoints(10_000) } } }))
  const paths = error?.problems.map(({ path }) => path) ?? []
  t.is(paths.length, 40_000)
  t.true(paths.includes("upstreams.api.endpoints[9999].host"))
  t.deepEqual(
    new Set(paths.filter((path) => path.startsWith("upstreams.api.endpoints[7]"))),
    new Set(["", ".id", ".host", ".port"].map((rest) => `upstreams.api.endpoints[7]${rest}`)),
  )
})
