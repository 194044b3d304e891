/** `GET /v1/explain` and `tidegate explain`: each policy's verdict, the endpoint and its score, of a request that nobody made. */
import ava from "ava"
import { listeners, type Running, runGateway, upstream } from "./run-gateway.ts"

interface Explanation {
  readonly route: string | null
  readonly endpoint: string | null
  readonly score: number | null
  readonly endpoints: readonly { readonly endpoint: string; readonly score: number; readonly active: number }[]
  readonly policies: readonly { readonly name: string; readonly verdict: string }[]
}

let gateway: Running
const servers: Awaited<ReturnType<typeof upstream>>[] = []

ava.before(async () => {
  for (let index = 0; index < 3; index++) servers.push(await upstream((_, response) => response.end(`${index}`)))
  const endpoints = servers.map(({ address }, index) => ({ address, weight: index + 1 }))
  const config = {
    workers: 2,
    admin: { address: "127.0.0.1:0" },
    listeners,
    upstreams: {
      weighted: { endpoints, balance: "weighted" },
      hashed: { endpoints, balance: { consistentHash: { header: "x-user" } } },
      sourced: { endpoints, balance: "ipHash" },
    },
    routes: [
      {
        name: "api",
        when: { path: "/api/**" },
        to: "weighted",
        use: [
          { setHeader: { "x-a": "1" } },
          { rateLimit: { perSecond: 0.001, burst: 2, key: "clientIp" } },
          { rewrite: { path: "/v2/{rest}" } },
          { script: {} },
          { retry: { attempts: 2, on: ["connect-failure"] } },
          { timeout: { ms: 700 } },
          { breaker: { failures: 5, openMs: 10_000 } },
        ],
      },
      { name: "hashed", when: { path: "/hashed" }, to: "hashed" },
      { name: "sourced", when: { path: "/sourced" }, to: "sourced" },
    ],
  }
  gateway = await runGateway(`
    import { defineConfig, definePolicy, path } from "tidegate"
    const script = definePolicy({
      name: "script",
      filter: () => path("/api/asked/**"),
      decide: () => ({ reject: 418 }),
    })
    export default defineConfig({ policies: [script], ...${JSON.stringify(config)} })
  `)
})

ava.after.always(async () => {
  await gateway?.stop()
  for (const { server } of servers) {
    server.closeAllConnections()
    server.close()
  }
})

async function explain(query: string): Promise<Explanation> {
  const answer = await fetch(`${gateway.admin}/v1/explain?${query}`)
  return (await answer.json()) as Explanation
}

const get = async (target: string, headers = {}) =>
  (await fetch(`http://127.0.0.1:${gateway.port}${target}`, { headers })).text()

ava("each policy says what it would do; nobody is asked and no limit is charged", async (t) => {
  const verdicts = async (url: string) =>
    Object.fromEntries((await explain(`url=${url}`)).policies.map(({ name, verdict }) => [name, verdict]))
  const expected = {
    setHeader: "passes",
    rateLimit: "passes",
    rewrite: "path becomes /v2/asked/1",
    script: "would be asked",
    timeout: "700 ms to the answer's head",
    retry: "at most 2 more tries on connect-failure",
    breaker: "closed",
  }
  for (let count = 0; count < 5; count++) t.deepEqual(await verdicts("/api/asked/1"), expected)
  t.is((await verdicts("/api/other")).script, "filtered")
  for (let count = 0; count < 2; count++) await get("/api/other")
  const after = await verdicts("/api/asked/1")
  t.regex(after.rateLimit ?? "", /^refuses for \d+ ms$/)
  t.like(after, { setHeader: "passes", rewrite: "not reached", script: "not reached", breaker: "closed" })
  t.is((await explain("url=/api/other&source=192.0.2.7")).policies[1]?.verdict, "passes", "another client has its own")
})

ava("the endpoint has its score among the others", async (t) => {
  const { endpoint, score, endpoints } = await explain("url=/api/x")
  t.deepEqual(
    endpoints,
    servers.map(({ address }, index) => ({ endpoint: address, score: index + 1, active: 0 })),
  )
  t.is(score, endpoints.find((row) => row.endpoint === endpoint)?.score ?? null)
})

ava("with a hash the endpoint is the one that such requests go to", async (t) => {
  const of = (index: string) => servers[Number(index)]?.address ?? null
  const picked = new Set<string | null>()
  // So many that none of the three is left out by chance: their places on the ring come of their ports.
  for (let user = 0; user < 100; user++) {
    const { endpoint } = await explain(`url=/hashed&header=x-user:u${user}`)
    picked.add(endpoint)
    t.is(endpoint, of(await get("/hashed", { "x-user": `u${user}` })))
  }
  t.is(picked.size, 3)
  t.is((await explain("url=/sourced")).endpoint, of(await get("/sourced")))
  const sourced = new Set<string | null>()
  for (let host = 0; host < 40; host++) sourced.add((await explain(`url=/sourced&source=10.0.0.${host}`)).endpoint)
  t.is(sourced.size, 3)
})
