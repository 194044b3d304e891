/** The plan of a configuration: complete, plain, the same for the same input. */
import test from "ava"
import fc from "fast-check"
import { loadData } from "../../src/config/index.ts"
import { byHeader, definePolicy, path } from "../../src/index.ts"
import { compile, programData, toProgram } from "../../src/plan/index.ts"
import { atOnce } from "../../src/turns.ts"

const endpoint = (id: string) => ({
  id,
  address: id,
  host: "127.0.0.1",
  weight: 1,
  health: 1,
  draining: false,
  near: true,
})

function planOf(raw: unknown, endpoints: Record<string, string[]> = {}) {
  const { config, functions } = loadData(raw)
  const found = Object.entries(endpoints).map(
    ([name, ids]) => [name, { endpoints: ids.map(endpoint), problem: null }] as const,
  )
  return atOnce(compile({ version: 1, config, functions, endpoints: new Map(found) }))
}

const BASE = { workers: 1, dataDir: false, upstreams: { api: { endpoints: ["127.0.0.1:9000"] } } }

test("a plan has every default filled in", (t) => {
  t.snapshot(planOf({ workers: 1 }))
})

test("conditions, targets and steps become plan data", (t) => {
  const routes = [
    {
      when: {
        path: "/api/**",
        host: "*.A.com",
        method: "get",
        header: { "X-A": "b" },
        protocol: "http",
        source: "10.0.0.1",
      },
      to: "api",
      priority: 3,
      use: [
        { retry: {} },
        { timeout: { ms: 5 } },
        { breaker: { failures: 2 } },
        { rateLimit: { perSecond: 0.5 } },
        { rewrite: { path: "/v2/{rest}" } },
      ],
    },
    { when: { path: "/u/{id}" }, to: { respond: { status: 404, body: "no", headers: { a: "b" } } } },
    { when: { path: "/a/{id}/**" }, to: { redirect: { location: "/b" } } },
    { when: { topic: "a/#" }, to: { topic: "b/{topic}" } },
  ]
  t.snapshot({ routes: planOf({ ...BASE, routes }, { api: ["127.0.0.1:9000"] }).routes })
  t.is(planOf({ ...BASE, routes }, { api: ["127.0.0.1:9000"] }).upstreams[0]?.breaker?.failures, 2)
})

test("a route without a name has one that stays while its condition stays", (t) => {
  const one = planOf({ ...BASE, routes: [{ when: { path: "/a" }, to: "api" }] })
  const two = planOf({
    ...BASE,
    routes: [
      { when: { path: "/b" }, to: "api" },
      { when: { path: "/a" }, to: "api", timeoutMs: 5 },
    ],
  })
  t.is(one.routes[0]?.name, two.routes[1]?.name)
  t.not(two.routes[0]?.name, two.routes[1]?.name)
})

test("an upstream without endpoints fails alone and says why", (t) => {
  const plan = planOf(
    { ...BASE, upstreams: { ...BASE.upstreams, other: { endpoints: ["127.0.0.1:1"] } } },
    { api: ["127.0.0.1:9000"] },
  )
  t.deepEqual(
    plan.upstreams.map(({ name, problem }) => [name, problem]),
    [
      ["api", null],
      ["other", "it has no endpoints"],
    ],
  )
})

test("policies are ordered among themselves and built-in steps stay in place", (t) => {
  const policy = (name: string, order: number) => definePolicy({ name, order, decide: () => "continue" })
  const [late, early] = [policy("late", 20), policy("early", 10)]
  const raw = { ...BASE, routes: [{ when: path("/a"), to: "api", use: [late(), { timeout: { ms: 1 } }, early()] }] }
  const plan = planOf(raw)
  t.deepEqual(
    plan.routes[0]?.steps.map(({ kind }) => kind),
    ["script", "timeout", "script"],
  )
  t.deepEqual(
    plan.scripts.map(({ policy: name }) => name),
    ["early", "late"],
  )
})

test("a policy's filter, cache and fields are data, and its options come back to it", (t) => {
  const tenant = definePolicy<{ header?: string }>({
    name: "tenant",
    deadlineMs: 7,
    fallback: "reject",
    filter: ({ header = "x-tenant" }) => path("/api/**").withHeader(header),
    cache: ({ header = "x-tenant" }) => ({ by: byHeader(header), ttlMs: 5_000 }),
    reads: () => [{ query: "q" }],
    decide: () => "continue",
  })
  const raw = { ...BASE, routes: [{ when: path("/api/**"), to: "api", use: [tenant({ header: "x-org" })] }] }
  const { config, functions } = loadData(raw)
  const plan = atOnce(compile({ version: 4, config, functions, endpoints: new Map() }))
  t.snapshot(plan.scripts)
  const program = toProgram(atOnce(programData(plan, config, functions)), functions)
  t.is(program.planVersion, 4)
  t.deepEqual(program.scripts[0]?.options, { header: "x-org" })
})

test("compiling is pure: the same input gives the same plan", (t) => {
  const route = fc.record({
    path: fc.stringMatching(/^\/[a-z]{0,5}$/),
    priority: fc.integer({ min: -5, max: 5 }),
    status: fc.integer({ min: 200, max: 599 }),
  })
  fc.assert(
    fc.property(fc.array(route, { maxLength: 5 }), (list) => {
      const routes = list.map(({ path: value, priority, status }) => ({
        when: { path: value },
        priority,
        to: { respond: { status } },
      }))
      const plan = planOf({ workers: 1, routes })
      t.deepEqual(JSON.parse(JSON.stringify(plan)), JSON.parse(JSON.stringify(planOf({ workers: 1, routes }))))
      t.false(JSON.stringify(plan).includes("undefined"))
    }),
    { numRuns: 30 },
  )
})
